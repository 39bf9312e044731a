-- name: claim_prebuild
-- Moves the oldest eligible prebuild of a preset to its claimant and queues the claim build, all or nothing. No row: none eligible.
-- The entry in the audit log has the claim's id.
-- The lock is on the base row; whoever is too late sees it change hands and takes the next. From here on its lifecycle is that of a new
-- workspace; what is not set is null for a prebuild (prebuild_has_no_lifecycle), and the claim build's end sets the deadlines.
-- $1 preset, $2 the pool's user, $3 claimant, $4 workspace name, $5 parameters, $6 initiator, $7 request id or null, $8 claim, $9 build,
-- $10 job, $11 requested at, $12 now, $13 agents seen after, $14 traceparent
WITH chosen AS (
    SELECT w.id, b.parameters, t.default_ttl_seconds
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
        owner_id = $3, name = $4, request_id = $7, last_used_at = $12, ttl_seconds = chosen.default_ttl_seconds,
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
), audit AS (
    INSERT INTO audit_log (id, happened_at, actor_id, action, target_kind, target_id, organization_id, details, trace_id)
    SELECT $8, $12, $6, 'workspace.claim', 'workspace', moved.id, moved.organization_id,
           jsonb_build_object('name', $4::text, 'owner_id', $3::uuid, 'template_id', moved.template_id, 'preset_id', moved.preset_id),
           split_part($14, '-', 2)
    FROM moved
)
SELECT moved.id AS workspace_id, job.organization_id, job.provisioner_type FROM moved, job;

-- name: find_request
-- Finds what a request has already led to.
-- $1 owner, $2 request id
SELECT w.id, w.pool_miss, EXISTS (SELECT FROM claims c WHERE c.workspace_id = w.id) AS warm
FROM workspaces w WHERE w.owner_id = $1 AND w.request_id = $2;

-- name: claim_prebuilds
-- Does what claim_prebuild does for many requests at once: the oldest eligible prebuilds of each preset go to its requests in order.
-- One row per request: refused as served or name_taken, given a workspace, or neither when its pool has run out. No two requests
-- may share a claimant and a name, or a claimant and a request id.
-- $1 presets, $2 the pool's user, $3 claimants, $4 workspace names, $5 parameters, $6 initiators, $7 request ids or nulls, $8 claims,
-- $9 builds, $10 jobs, $11 requested at, $12 now, $13 agents seen after, $14 traceparents
WITH asked AS MATERIALIZED (
    SELECT a.*,
           CASE WHEN EXISTS (SELECT FROM workspaces x WHERE x.owner_id = a.claimant_id AND x.request_id = a.request_id) THEN 'served'
                WHEN EXISTS (SELECT FROM workspaces x WHERE x.owner_id = a.claimant_id AND x.name = a.name AND x.deleted_at IS NULL)
                THEN 'name_taken' ELSE '' END AS refusal
    FROM unnest($1::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::uuid[], $7::text[], $8::uuid[], $9::uuid[], $10::uuid[],
                $11::timestamptz[], $14::text[]) WITH ORDINALITY
         AS a(preset_id, claimant_id, name, parameters, initiator_id, request_id, claim_id, build_id, job_id, requested_at, traceparent,
              number)
), turns AS (
    SELECT a.*, row_number() OVER (PARTITION BY a.preset_id ORDER BY a.number) AS turn FROM asked a WHERE a.refusal = ''
), demand AS MATERIALIZED (
    SELECT preset_id, count(*) AS wanted FROM turns GROUP BY preset_id
), chosen AS MATERIALIZED (
    SELECT m.* FROM demand d CROSS JOIN LATERAL (
        SELECT w.preset_id, w.id, w.created_at, b.parameters, t.default_ttl_seconds
        FROM workspaces w
        JOIN presets p ON p.id = w.preset_id
        JOIN templates t ON t.id = w.template_id
        JOIN workspace_builds b ON b.id = w.latest_build_id
        WHERE w.preset_id = d.preset_id AND w.owner_id = $2 AND w.deleted_at IS NULL AND w.born_in_pool AND w.invalidated_at IS NULL
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
        LIMIT d.wanted FOR UPDATE OF w SKIP LOCKED
    ) m
), given AS (
    SELECT turns.*, c.id AS workspace_id, c.parameters AS built, c.default_ttl_seconds
    FROM (SELECT chosen.*, row_number() OVER (PARTITION BY preset_id ORDER BY created_at, id) AS turn FROM chosen) c
    JOIN turns USING (preset_id, turn)
), moved AS (
    UPDATE workspaces w SET
        owner_id = g.claimant_id, name = g.name, request_id = g.request_id, last_used_at = $12, ttl_seconds = g.default_ttl_seconds,
        latest_build_id = g.build_id, latest_build_number = w.latest_build_number + 1, latest_transition = 'start',
        latest_job_id = g.job_id, latest_job_status = 'pending', latest_build_created_at = $12, latest_build_finished_at = NULL
    FROM given g WHERE w.id = g.workspace_id
    RETURNING w.id, w.organization_id, w.template_id, w.preset_id, w.latest_build_number, w.latest_template_version_id, g.number,
              g.claimant_id, g.name, g.parameters, g.initiator_id, g.claim_id, g.build_id, g.job_id, g.requested_at, g.traceparent, g.built
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT m.job_id, m.organization_id, 'workspace_build', t.provisioner_type, t.provisioner_tags, m.latest_template_version_id,
           m.initiator_id, false, m.traceparent, $12, $12
    FROM moved m JOIN templates t ON t.id = m.template_id
    RETURNING id, provisioner_type
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id, template_version_id, initiator_id, reason,
                                  parameters, created_at)
    SELECT m.build_id, m.id, m.latest_build_number, 'start', 'claim', m.job_id, m.latest_template_version_id, m.initiator_id, 'claim',
           m.built || m.parameters, $12
    FROM moved m
), claim AS (
    INSERT INTO claims (id, workspace_id, preset_id, claimant_id, build_id, requested_at, claimed_at)
    SELECT m.claim_id, m.id, m.preset_id, m.claimant_id, m.build_id, m.requested_at, $12 FROM moved m
), audit AS (
    INSERT INTO audit_log (id, happened_at, actor_id, action, target_kind, target_id, organization_id, details, trace_id)
    SELECT m.claim_id, $12, m.initiator_id, 'workspace.claim', 'workspace', m.id, m.organization_id,
           jsonb_build_object('name', m.name, 'owner_id', m.claimant_id, 'template_id', m.template_id, 'preset_id', m.preset_id),
           split_part(m.traceparent, '-', 2)
    FROM moved m
)
SELECT asked.refusal, moved.id AS workspace_id, job.provisioner_type
FROM asked LEFT JOIN moved ON moved.number = asked.number LEFT JOIN job ON job.id = moved.job_id
ORDER BY asked.number;
