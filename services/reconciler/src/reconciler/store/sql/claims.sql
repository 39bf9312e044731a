-- name: claim_prebuild
-- Moves the oldest eligible prebuild of a preset to its claimant and queues the claim build, all or nothing. No row: none eligible.
-- The lock is on the base row; whoever is too late sees it change hands and takes the next.
-- $1 preset, $2 the pool's user, $3 claimant, $4 workspace name, $5 parameters, $6 initiator, $7 request id or null, $8 claim, $9 build,
-- $10 job, $11 requested at, $12 now, $13 agents seen after, $14 traceparent
WITH chosen AS (
    SELECT w.id, b.parameters
    FROM workspaces w
    JOIN presets p ON p.id = w.preset_id
    JOIN templates t ON t.id = w.template_id
    JOIN workspace_builds b ON b.id = w.latest_build_id
    WHERE w.preset_id = $1 AND w.owner_id = $2 AND w.deleted_at IS NULL AND w.born_in_pool AND w.invalidated_at IS NULL
      AND w.latest_transition = 'start' AND w.latest_job_status = 'succeeded'
      AND w.latest_template_version_id = t.active_version_id AND t.deleted_at IS NULL
      AND (p.ttl_seconds = 0 OR w.created_at + make_interval(secs => p.ttl_seconds) > $12)
      AND EXISTS (SELECT FROM agents a WHERE a.workspace_id = w.id AND a.deleted_at IS NULL)
      AND NOT EXISTS (
          SELECT FROM agents a
          WHERE a.workspace_id = w.id AND a.deleted_at IS NULL
            AND (a.lifecycle <> 'ready' OR a.last_seen_at IS NULL OR a.last_seen_at <= $13
                 OR a.disconnected_at >= a.last_seen_at))
    ORDER BY w.created_at, w.id
    LIMIT 1 FOR UPDATE OF w SKIP LOCKED
), moved AS (
    UPDATE workspaces w SET
        owner_id = $3, name = $4, request_id = $7, last_used_at = $12,
        latest_build_id = $9, latest_build_number = w.latest_build_number + 1, latest_transition = 'start', latest_job_id = $10,
        latest_job_status = 'pending', latest_build_created_at = $12, latest_build_finished_at = NULL
    FROM chosen WHERE w.id = chosen.id
    RETURNING w.id, w.organization_id, w.template_id, w.preset_id, w.latest_build_number, w.latest_template_version_id,
              chosen.parameters
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT $10, moved.organization_id, 'workspace_build', t.provisioner_type, t.provisioner_tags, moved.latest_template_version_id,
           $6, false, $14, $12, $12
    FROM moved JOIN templates t ON t.id = moved.template_id
    RETURNING id, organization_id, provisioner_type
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id, template_version_id, initiator_id, reason,
                                  parameters, created_at)
    SELECT $9, moved.id, moved.latest_build_number, 'start', 'claim', $10, moved.latest_template_version_id, $6, 'claim',
           moved.parameters || $5::jsonb, $12
    FROM moved
), claim AS (
    INSERT INTO claims (id, workspace_id, preset_id, claimant_id, build_id, requested_at, claimed_at)
    SELECT $8, moved.id, moved.preset_id, $3, $9, $11, $12 FROM moved
)
SELECT moved.id AS workspace_id, job.organization_id, job.provisioner_type FROM moved, job;

-- name: find_request
-- Finds what a request has already led to.
-- $1 owner, $2 request id
SELECT w.id, w.pool_miss, EXISTS (SELECT FROM claims c WHERE c.workspace_id = w.id) AS warm
FROM workspaces w WHERE w.owner_id = $1 AND w.request_id = $2;

-- name: find_pool_parameters
-- The parameters prebuilds of a preset were built with, newest first.
-- $1 preset, $2 the pool's user
SELECT b.parameters FROM workspaces w JOIN workspace_builds b ON b.id = w.latest_build_id
WHERE w.preset_id = $1 AND w.owner_id = $2 AND w.deleted_at IS NULL
ORDER BY w.created_at DESC LIMIT 1;
