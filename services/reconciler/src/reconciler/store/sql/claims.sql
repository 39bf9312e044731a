-- name: claim_prebuild
-- Moves the oldest eligible prebuild of a preset to its claimant and queues the claim build, all or nothing. No row: none eligible.
-- The entry in the audit log has the claim's id. What is returned is the workspace as get_workspaces would read it.
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
    RETURNING w.id, w.organization_id, w.owner_id, w.name, w.template_id, w.preset_id, w.created_at, w.deleted_at, w.pool_miss,
              w.latest_build_number, w.latest_template_version_id, w.autostart_schedule, w.autostart_timezone, w.ttl_seconds,
              w.deadline_at, w.max_deadline_at, w.dormant_at, w.deleting_at, w.last_used_at, w.next_start_at, chosen.parameters
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT $10, moved.organization_id, 'workspace_build', t.provisioner_type, t.provisioner_tags, moved.latest_template_version_id,
           $6, false, $14, $12, $12
    FROM moved JOIN templates t ON t.id = moved.template_id
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
SELECT m.id, m.organization_id, m.owner_id, u.username AS owner_name, u.is_system, m.name, m.template_id, t.name AS template_name,
       p.name AS preset_name, m.preset_id, m.created_at, m.deleted_at, m.pool_miss, $9::uuid AS build_id, m.latest_build_number AS number,
       'start' AS transition, $10::uuid AS job_id, m.latest_template_version_id AS template_version_id, v.name AS version_name,
       'claim' AS reason, $12::timestamptz AS build_created_at, 'pending' AS job_status, '' AS job_error, m.autostart_schedule,
       m.autostart_timezone, m.ttl_seconds, m.deadline_at, m.max_deadline_at, m.dormant_at, m.deleting_at, m.last_used_at,
       CASE WHEN t.is_autostart_allowed THEN m.next_start_at END AS next_start_at, $8::uuid AS claim_id, $11::timestamptz AS requested_at,
       $12::timestamptz AS claimed_at, NULL::timestamptz AS built_at, NULL::timestamptz AS delivered_at, NULL::timestamptz AS applied_at,
       '' AS claim_error, t.provisioner_type,
       (SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'lifecycle', a.lifecycle, 'last_seen_at', a.last_seen_at,
               'connected', a.last_seen_at > $13 AND (a.disconnected_at IS NULL OR a.disconnected_at < a.last_seen_at)) ORDER BY a.name)
        FROM agents a WHERE a.workspace_id = m.id AND a.deleted_at IS NULL) AS agents
FROM moved m
JOIN users u ON u.id = m.owner_id
JOIN templates t ON t.id = m.template_id
JOIN presets p ON p.id = m.preset_id
JOIN template_versions v ON v.id = m.latest_template_version_id;

-- name: find_request
-- Finds what a request has already led to.
-- $1 owner, $2 request id
SELECT w.id, w.pool_miss, EXISTS (SELECT FROM claims c WHERE c.workspace_id = w.id) AS warm
FROM workspaces w WHERE w.owner_id = $1 AND w.request_id = $2;

-- name: claim_prebuilds
-- Does what claim_prebuild does for many requests at once: the oldest eligible prebuilds of each preset go to its requests in order.
-- One row per request: refused as served or name_taken, given a workspace, or neither when its pool has run out, where the id is null.
-- No two requests may share a claimant and a name, or a claimant and a request id.
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
    RETURNING w.id, w.organization_id, w.owner_id, w.name, w.template_id, w.preset_id, w.created_at, w.deleted_at, w.pool_miss,
              w.latest_build_number, w.latest_template_version_id, w.autostart_schedule, w.autostart_timezone, w.ttl_seconds,
              w.deadline_at, w.max_deadline_at, w.dormant_at, w.deleting_at, w.last_used_at, w.next_start_at, g.number, g.parameters,
              g.initiator_id, g.claim_id, g.build_id, g.job_id, g.requested_at, g.traceparent, g.built
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT m.job_id, m.organization_id, 'workspace_build', t.provisioner_type, t.provisioner_tags, m.latest_template_version_id,
           m.initiator_id, false, m.traceparent, $12, $12
    FROM moved m JOIN templates t ON t.id = m.template_id
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id, template_version_id, initiator_id, reason,
                                  parameters, created_at)
    SELECT m.build_id, m.id, m.latest_build_number, 'start', 'claim', m.job_id, m.latest_template_version_id, m.initiator_id, 'claim',
           m.built || m.parameters, $12
    FROM moved m
), claim AS (
    INSERT INTO claims (id, workspace_id, preset_id, claimant_id, build_id, requested_at, claimed_at)
    SELECT m.claim_id, m.id, m.preset_id, m.owner_id, m.build_id, m.requested_at, $12 FROM moved m
), audit AS (
    INSERT INTO audit_log (id, happened_at, actor_id, action, target_kind, target_id, organization_id, details, trace_id)
    SELECT m.claim_id, $12, m.initiator_id, 'workspace.claim', 'workspace', m.id, m.organization_id,
           jsonb_build_object('name', m.name, 'owner_id', m.owner_id, 'template_id', m.template_id, 'preset_id', m.preset_id),
           split_part(m.traceparent, '-', 2)
    FROM moved m
)
SELECT asked.refusal, m.id, m.organization_id, m.owner_id, u.username AS owner_name, u.is_system, m.name, m.template_id,
       t.name AS template_name, p.name AS preset_name, m.preset_id, m.created_at, m.deleted_at, m.pool_miss, m.build_id,
       m.latest_build_number AS number, 'start' AS transition, m.job_id, m.latest_template_version_id AS template_version_id, v.name AS version_name,
       'claim' AS reason, $12::timestamptz AS build_created_at, 'pending' AS job_status, '' AS job_error, m.autostart_schedule,
       m.autostart_timezone, m.ttl_seconds, m.deadline_at, m.max_deadline_at, m.dormant_at, m.deleting_at, m.last_used_at,
       CASE WHEN t.is_autostart_allowed THEN m.next_start_at END AS next_start_at, m.claim_id, m.requested_at,
       $12::timestamptz AS claimed_at, NULL::timestamptz AS built_at, NULL::timestamptz AS delivered_at, NULL::timestamptz AS applied_at,
       '' AS claim_error, t.provisioner_type,
       (SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', a.name, 'lifecycle', a.lifecycle, 'last_seen_at', a.last_seen_at,
               'connected', a.last_seen_at > $13 AND (a.disconnected_at IS NULL OR a.disconnected_at < a.last_seen_at)) ORDER BY a.name)
        FROM agents a WHERE a.workspace_id = m.id AND a.deleted_at IS NULL) AS agents
FROM asked LEFT JOIN moved m ON m.number = asked.number
LEFT JOIN users u ON u.id = m.owner_id
LEFT JOIN templates t ON t.id = m.template_id
LEFT JOIN presets p ON p.id = m.preset_id
LEFT JOIN template_versions v ON v.id = m.latest_template_version_id
ORDER BY asked.number;

-- name: load_outlooks
-- What stands before the next job a person asks of each template: in the queue of its organization, and of that before the same workers,
-- which are those of its organization, type and tags; how long jobs of these took lately, by the newest thousand of the type; and how many
-- of them run now. As queue_positions counts, but for a job that is still to come.
-- $1 templates
SELECT t.id, waiting.position, waiting.ahead, lately.seconds, (
    SELECT count(*) FROM jobs h
    WHERE h.status IN ('running', 'canceling') AND h.provisioner_type = t.provisioner_type AND h.organization_id = t.organization_id
      AND h.tags = t.provisioner_tags
) AS in_hand
FROM templates t, LATERAL (
    SELECT count(*) AS position, count(*) FILTER (WHERE j.provisioner_type = t.provisioner_type AND j.tags = t.provisioner_tags) AS ahead
    FROM jobs j
    WHERE j.status = 'pending' AND NOT j.is_system AND j.kind <> 'template_version_dry_run' AND j.organization_id = t.organization_id
) waiting, LATERAL (
    SELECT avg(extract(epoch FROM ended.finished_at - ended.started_at))::float8 AS seconds FROM (
        SELECT recent.finished_at, recent.started_at FROM (
            SELECT organization_id, tags, finished_at, started_at FROM jobs e
            WHERE e.provisioner_type = t.provisioner_type AND e.finished_at IS NOT NULL AND e.started_at IS NOT NULL
            ORDER BY e.finished_at DESC LIMIT 1000
        ) recent
        WHERE recent.organization_id = t.organization_id AND recent.tags = t.provisioner_tags
        ORDER BY recent.finished_at DESC LIMIT 50
    ) ended
) lately
WHERE t.id = ANY ($1::uuid[]);
