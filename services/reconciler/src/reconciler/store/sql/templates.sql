-- name: list_templates
-- Lists templates by name.
-- $1 organizations or null for all, $2 template name or null for all
SELECT t.id, t.organization_id, t.name, t.provisioner_type, t.active_version_id, coalesce(v.name, '') AS active_version_name,
       t.created_at, t.default_ttl_seconds, t.activity_bump_seconds, t.max_ttl_seconds, t.dormant_after_seconds,
       t.delete_dormant_after_seconds, t.failure_ttl_seconds, t.is_autostart_allowed
FROM templates t
LEFT JOIN template_versions v ON v.id = t.active_version_id
WHERE t.deleted_at IS NULL
  AND ($1::uuid[] IS NULL OR t.organization_id = ANY ($1))
  AND ($2::text IS NULL OR t.name = $2)
ORDER BY t.name, t.organization_id;

-- name: list_versions
-- Lists a template's versions, newest first, with where their imports stand.
-- $1 template, $2 how many at most
SELECT v.id, v.template_id, t.organization_id, v.name, v.job_id, j.status, j.error, coalesce(t.active_version_id = v.id, false) AS is_active,
       v.created_at, v.message
FROM template_versions v
JOIN templates t ON t.id = v.template_id
JOIN jobs j ON j.id = v.job_id
WHERE v.template_id = $1
ORDER BY v.created_at DESC, v.id DESC
LIMIT $2;

-- name: find_version_by_id
-- Finds a version with all that it asks of its user.
-- $1 version
SELECT v.id, v.template_id, t.organization_id, v.name, v.job_id, j.status, j.error, coalesce(t.active_version_id = v.id, false) AS is_active,
       v.created_at, v.message, v.parameters
FROM template_versions v
JOIN templates t ON t.id = v.template_id AND t.deleted_at IS NULL
JOIN jobs j ON j.id = v.job_id
WHERE v.id = $1;

-- name: list_version_presets
-- Reads what a version offers.
-- $1 version
SELECT id, name, is_default, description, icon, parameters, instances, ttl_seconds, timezone, schedules
FROM presets WHERE template_version_id = $1 ORDER BY name;

-- name: insert_archive
-- Keeps files once, whoever pushes them however often.
-- $1 hash, $2 content, $3 now
INSERT INTO archives (sha256, content, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: ensure_template
-- Makes a template if there is none of that name, takes over tags if there are any, and holds it for the rest of the transaction.
-- $1 id, $2 organization, $3 name, $4 provisioner type, $5 tags, $6 now
INSERT INTO templates (id, organization_id, name, provisioner_type, provisioner_tags, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (organization_id, name) WHERE deleted_at IS NULL DO UPDATE
SET provisioner_tags = CASE WHEN excluded.provisioner_tags = '{}' THEN templates.provisioner_tags ELSE excluded.provisioner_tags END
RETURNING id, provisioner_type, provisioner_tags;

-- name: next_version_number
-- Says which vN is the next one.
-- $1 template
SELECT coalesce(max(substring(name FROM '^v([0-9]{1,9})$')::bigint), 0) + 1 FROM template_versions WHERE template_id = $1;

-- name: insert_version
-- Makes a version, unless its name is taken; its import job follows in the same transaction.
-- $1 id, $2 template, $3 name, $4 job, $5 hash of its files, $6 is it to become active once imported, $7 message, $8 author, $9 now
INSERT INTO template_versions (id, template_id, name, job_id, archive_sha256, promote_on_success, message, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT ON CONSTRAINT version_name_is_unique DO NOTHING
RETURNING id;

-- name: finish_version
-- Keeps what a version asks of its user.
-- $1 version, $2 parameters, $3 agent names, $4 now
UPDATE template_versions SET parameters = $2, agent_names = $3, imported_at = $4 WHERE id = $1
RETURNING template_id, promote_on_success, created_by, created_at;

-- name: insert_preset
-- Keeps what a version offers.
-- $1 id, $2 version, $3 name, $4 is it the default, $5 description, $6 icon, $7 parameters, $8 size of the pool or null for none,
-- $9 ttl, $10 time zone, $11 schedules
INSERT INTO presets (id, template_version_id, name, is_default, description, icon, parameters, instances, ttl_seconds, timezone, schedules)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: hold_for_promotion
-- Holds a template while its active version changes; whoever makes a prebuild waits, whoever makes a workspace does not.
-- $1 template
SELECT id, organization_id, name, active_version_id FROM templates WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE;

-- name: hold_for_deletion
-- Holds a template so that nobody makes a workspace of it meanwhile.
-- $1 template
SELECT id, organization_id, name, active_version_id FROM templates WHERE id = $1 AND deleted_at IS NULL FOR UPDATE;

-- name: find_version_by_name
-- Finds a version to promote.
-- $1 template, $2 version name
SELECT v.id, v.imported_at, j.status FROM template_versions v JOIN jobs j ON j.id = v.job_id WHERE v.template_id = $1 AND v.name = $2;

-- name: is_newer
-- Says whether a version was pushed after a moment.
-- $1 version, $2 moment
SELECT created_at > $2 FROM template_versions WHERE id = $1;

-- name: set_active_version
-- Makes a version the one that is used.
-- $1 template, $2 version
UPDATE templates SET active_version_id = $2 WHERE id = $1;

-- name: list_pool_presets
-- Lists the pools of versions.
-- $1 versions
SELECT id FROM presets WHERE template_version_id = ANY ($1::uuid[]) AND instances IS NOT NULL ORDER BY id;

-- name: count_workspaces_of_people
-- Counts what stands in the way of deleting a template.
-- $1 template, $2 the pool's user
SELECT count(*) FROM workspaces WHERE template_id = $1 AND deleted_at IS NULL AND owner_id <> $2;

-- name: delete_template
-- Retires a template; its rows stay for the workspaces that were made of it.
-- $1 template, $2 now
UPDATE templates SET deleted_at = $2 WHERE id = $1;
