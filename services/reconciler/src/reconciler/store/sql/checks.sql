-- name: lock_organization
-- Holds the organization of a version for the rest of the transaction, so that its checks are queued one request after the other.
-- $1 version
SELECT o.id FROM template_versions v JOIN templates t ON t.id = v.template_id JOIN organizations o ON o.id = t.organization_id
WHERE v.id = $1 FOR NO KEY UPDATE OF o;

-- name: count_waiting_checks
-- How many dry runs that somebody asked for wait in an organization.
-- $1 organization
SELECT count(*) FROM jobs WHERE status = 'pending' AND NOT is_system AND kind = 'template_version_dry_run' AND organization_id = $1;

-- name: queue_check
-- Queues a dry run that somebody asked for: upon a prebuild of the preset if one may be used and is there, else upon nothing.
-- $1 job, $2 version, $3 initiator, $4 parameters, $5 preset's name, $6 preset whose prebuilds may be used or null, $7 the pool's user,
-- $8 traceparent, $9 now
WITH prebuild AS (
    SELECT latest_build_id, name FROM workspaces
    WHERE owner_id = $7 AND preset_id = $6 AND born_in_pool AND deleted_at IS NULL AND latest_template_version_id = $2
      AND latest_transition = 'start' AND latest_job_status = 'succeeded'
    ORDER BY created_at, id LIMIT 1
)
INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, parameters,
                  traceparent, rehearsed_build_id, result, created_at, pending_since)
SELECT $1, t.organization_id, 'template_version_dry_run', t.provisioner_type, t.provisioner_tags, v.id, $3, false, $4, $8,
       (SELECT latest_build_id FROM prebuild),
       jsonb_build_object('preset', $5::text, 'prebuild', coalesce((SELECT name FROM prebuild), '')), $9, $9
FROM template_versions v JOIN templates t ON t.id = v.template_id
WHERE v.id = $2 AND t.deleted_at IS NULL
RETURNING id;

-- name: list_checks
-- Reads dry runs: where they stand and what they found.
-- $1 jobs
SELECT id, organization_id, provisioner_type, status, error, result FROM jobs
WHERE id = ANY ($1::uuid[]) AND kind = 'template_version_dry_run' ORDER BY created_at, id;

-- name: keep_findings
-- Keeps what a dry run found.
-- $1 job, $2 findings
UPDATE jobs SET result = result || $2 WHERE id = $1;
