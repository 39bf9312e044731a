-- name: list_workspaces
-- Reads workspaces, newest first, with everything a person is shown of them.
-- $1 ids or null, $2 owner or null, $3 template name or null, $4 also prebuilds, $5 organizations the caller may read or null for all,
-- $6 created before or null, $7 and below this id, $8 how many at most, $9 the caller, who always sees their own,
-- $10 workspace name or null, $11 agents seen after this are connected, $12 whether the caller may read prebuilds everywhere
SELECT w.id, w.organization_id, w.owner_id, u.username AS owner_name, u.is_system, w.name, w.template_id, t.name AS template_name,
       coalesce(p.name, '') AS preset_name, w.preset_id, w.created_at, w.deleted_at, w.born_in_pool, w.pool_miss,
       b.id AS build_id, b.number, b.transition, b.job_id, b.template_version_id, v.name AS version_name, b.reason,
       b.created_at AS build_created_at, j.status AS job_status, j.error AS job_error,
       w.autostart_schedule, w.autostart_timezone, w.ttl_seconds, w.deadline_at, w.max_deadline_at, w.dormant_at, w.deleting_at,
       w.last_used_at, CASE WHEN t.is_autostart_allowed THEN w.next_start_at END AS next_start_at,
       c.id AS claim_id, c.requested_at, c.claimed_at, c.built_at, c.delivered_at, c.applied_at, c.error AS claim_error,
       (SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'lifecycle', a.lifecycle, 'last_seen_at', a.last_seen_at,
               'connected', a.last_seen_at > $11 AND (a.disconnected_at IS NULL OR a.disconnected_at < a.last_seen_at)) ORDER BY a.name)
        FROM agents a WHERE a.workspace_id = w.id AND a.deleted_at IS NULL) AS agents
FROM workspaces w
JOIN users u ON u.id = w.owner_id
JOIN templates t ON t.id = w.template_id
LEFT JOIN presets p ON p.id = w.preset_id
JOIN workspace_builds b ON b.id = w.latest_build_id
JOIN jobs j ON j.id = b.job_id
JOIN template_versions v ON v.id = b.template_version_id
LEFT JOIN claims c ON c.workspace_id = w.id
WHERE ($1::uuid[] IS NULL OR w.id = ANY ($1))
  AND ($2::uuid IS NULL OR w.owner_id = $2)
  AND ($3::text IS NULL OR t.name = $3)
  AND ($10::text IS NULL OR w.name = $10)
  AND ($4 OR NOT u.is_system)
  AND ($5::uuid[] IS NULL OR w.organization_id = ANY ($5) OR w.owner_id = $9 OR (u.is_system AND $12))
  AND ($6::timestamptz IS NULL OR (w.created_at, w.id) < ($6, $7::uuid))
  AND ($1::uuid[] IS NOT NULL OR w.deleted_at IS NULL)
ORDER BY w.created_at DESC, w.id DESC
LIMIT $8;

-- name: get_workspaces
-- Reads workspaces by id, deleted or not, as list_workspaces does. It is apart from it because a query that may mean many things is
-- planned anew, for milliseconds, whenever it is asked.
-- $1 ids, $2 agents seen after this are connected
SELECT w.id, w.organization_id, w.owner_id, u.username AS owner_name, u.is_system, w.name, w.template_id, t.name AS template_name,
       coalesce(p.name, '') AS preset_name, w.preset_id, w.created_at, w.deleted_at, w.born_in_pool, w.pool_miss,
       b.id AS build_id, b.number, b.transition, b.job_id, b.template_version_id, v.name AS version_name, b.reason,
       b.created_at AS build_created_at, j.status AS job_status, j.error AS job_error,
       w.autostart_schedule, w.autostart_timezone, w.ttl_seconds, w.deadline_at, w.max_deadline_at, w.dormant_at, w.deleting_at,
       w.last_used_at, CASE WHEN t.is_autostart_allowed THEN w.next_start_at END AS next_start_at,
       c.id AS claim_id, c.requested_at, c.claimed_at, c.built_at, c.delivered_at, c.applied_at, c.error AS claim_error,
       (SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'lifecycle', a.lifecycle, 'last_seen_at', a.last_seen_at,
               'connected', a.last_seen_at > $2 AND (a.disconnected_at IS NULL OR a.disconnected_at < a.last_seen_at)) ORDER BY a.name)
        FROM agents a WHERE a.workspace_id = w.id AND a.deleted_at IS NULL) AS agents
FROM workspaces w
JOIN users u ON u.id = w.owner_id
JOIN templates t ON t.id = w.template_id
LEFT JOIN presets p ON p.id = w.preset_id
JOIN workspace_builds b ON b.id = w.latest_build_id
JOIN jobs j ON j.id = b.job_id
JOIN template_versions v ON v.id = b.template_version_id
LEFT JOIN claims c ON c.workspace_id = w.id
WHERE w.id = ANY ($1::uuid[]);

-- name: find_template
-- Finds the template and version a workspace is asked of, with the parameters it asks for.
-- $1 organization name, $2 template name, $3 version name or null for the active one
SELECT t.id AS template_id, t.organization_id, t.provisioner_type, v.id AS version_id, v.name AS version_name, v.parameters,
       v.imported_at, t.active_version_id = v.id AS is_active, o.name AS organization_name, o.workspaces_per_user_max
FROM organizations o
JOIN templates t ON t.organization_id = o.id AND t.deleted_at IS NULL
LEFT JOIN template_versions v ON v.template_id = t.id AND CASE WHEN $3::text IS NULL THEN v.id = t.active_version_id ELSE v.name = $3 END
WHERE o.name = $1 AND t.name = $2;

-- name: list_presets
-- Reads the presets of a version.
-- $1 version
SELECT id, name, is_default, parameters, instances FROM presets WHERE template_version_id = $1 ORDER BY name;

-- name: get_version_parameters
-- Reads what a version asks of its user.
-- $1 version
SELECT parameters FROM template_versions WHERE id = $1;

-- name: find_version
-- Finds an imported version of a template by name.
-- $1 template, $2 version name
SELECT id, parameters FROM template_versions WHERE template_id = $1 AND name = $2 AND imported_at IS NOT NULL;

-- name: insert_audit
-- Keeps who did what.
-- $1 id, $2 now, $3 actor or null, $4 action, $5 kind of target, $6 target, $7 organization or null, $8 details, $9 trace
INSERT INTO audit_log (id, happened_at, actor_id, action, target_kind, target_id, organization_id, details, trace_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: get_latest_parameters
-- Reads the values of a workspace's latest build.
-- $1 workspace
SELECT b.parameters FROM workspaces w JOIN workspace_builds b ON b.id = w.latest_build_id WHERE w.id = $1;

-- name: find_user_id
-- Finds a user by name.
-- $1 user name
SELECT id FROM users WHERE username = $1 AND disabled_at IS NULL;

-- name: is_member
-- Whether a user belongs to an organization.
-- $1 organization, $2 user
SELECT EXISTS (SELECT FROM organization_members WHERE organization_id = $1 AND user_id = $2);
