-- name: insert_workspace
-- Makes a workspace with its first build and that build's job; no row if its template is deleted. Whoever deletes the template meanwhile
-- is waited for, or waits.
-- $1 workspace, $2 organization, $3 owner, $4 name, $5 template, $6 preset or null, $7 is it the pool's, $8 request id or null,
-- $9 why no prebuild was used, $10 now, $11 build, $12 job, $13 version, $14 initiator, $15 stage, $16 reason, $17 parameters,
-- $18 traceparent
WITH template AS (
    SELECT id, provisioner_type, provisioner_tags, default_ttl_seconds FROM templates WHERE id = $5 AND deleted_at IS NULL FOR KEY SHARE
), workspace AS (
    INSERT INTO workspaces (id, organization_id, owner_id, name, template_id, preset_id, born_in_pool, request_id, pool_miss, created_at,
                            latest_build_id, latest_build_number, latest_transition, latest_job_id, latest_job_status,
                            latest_template_version_id, latest_build_created_at, ttl_seconds, last_used_at)
    SELECT $1, $2, $3, $4, template.id, $6, $7, $8, $9, $10, $11, 1, 'start', $12, 'pending', $13, $10,
           CASE WHEN NOT $7 THEN template.default_ttl_seconds END, CASE WHEN NOT $7 THEN $10::timestamptz END
    FROM template
    RETURNING id
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT $12, $2, 'workspace_build', template.provisioner_type, template.provisioner_tags, $13, $14, $7, $18, $10, $10 FROM template
    RETURNING id, provisioner_type
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id, template_version_id, initiator_id, reason,
                                  parameters, created_at)
    SELECT $11, workspace.id, 1, 'start', $15, $12, $13, $14, $16, $17, $10 FROM workspace
)
SELECT provisioner_type FROM job;

-- name: insert_build
-- Queues a further build of a workspace whose row the caller holds.
-- $1 workspace, $2 build, $3 job, $4 transition, $5 version, $6 initiator, $7 stage, $8 reason, $9 parameters, $10 is it the pool's,
-- $11 traceparent, $12 now
WITH workspace AS (
    UPDATE workspaces SET latest_build_id = $2, latest_build_number = latest_build_number + 1, latest_transition = $4, latest_job_id = $3,
           latest_job_status = 'pending', latest_template_version_id = $5, latest_build_created_at = $12, latest_build_finished_at = NULL
    WHERE id = $1
    RETURNING id, organization_id, template_id, latest_build_number
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, traceparent,
                      created_at, pending_since)
    SELECT $3, workspace.organization_id, 'workspace_build', t.provisioner_type, t.provisioner_tags, $5, $6, $10, $11, $12, $12
    FROM workspace JOIN templates t ON t.id = workspace.template_id
    RETURNING id, provisioner_type, organization_id
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id, template_version_id, initiator_id, reason,
                                  parameters, created_at)
    SELECT $2, workspace.id, workspace.latest_build_number, $4, $7, $3, $5, $6, $8, $9, $12 FROM workspace
)
SELECT provisioner_type, organization_id FROM job;

-- name: lock_workspace
-- Holds a workspace for the rest of the transaction.
-- $1 workspace
SELECT w.id, w.organization_id, w.owner_id, w.template_id, w.preset_id, w.born_in_pool, w.deleted_at, w.latest_build_id,
       w.latest_transition, w.latest_job_id, w.latest_job_status, w.latest_template_version_id,
       (SELECT parameters FROM workspace_builds b WHERE b.id = w.latest_build_id) AS parameters
FROM workspaces w WHERE w.id = $1 FOR UPDATE;

-- name: get_build
-- Reads the build a job runs.
-- $1 job
SELECT b.id, b.workspace_id, b.transition, b.stage, w.latest_build_id, w.owner_id, w.preset_id, w.born_in_pool
FROM workspace_builds b JOIN workspaces w ON w.id = b.workspace_id WHERE b.job_id = $1;

-- name: finish_build
-- Shows the end of a job that did not succeed on its build and workspace.
-- $1 job, $2 final status, $3 now
WITH build AS (
    UPDATE workspace_builds SET finished_at = $3, resources = '[]' WHERE job_id = $1 RETURNING id, workspace_id
)
UPDATE workspaces SET latest_job_status = $2, latest_build_finished_at = $3
FROM build WHERE workspaces.id = build.workspace_id AND workspaces.latest_build_id = build.id;

-- name: get_completion
-- Reads what a build that succeeded depends on and changes: its live attempt, its workspace with the rules of its runs, and the claim it
-- makes deliverable. No row if the attempt is superseded or over; no build if the job has none.
-- $1 job, $2 attempt, $3 the worker's organization or null
SELECT j.id, j.kind, j.status, j.organization_id, j.provisioner_type, j.log_bytes, b.id AS build_id, b.workspace_id, b.transition,
       w.xmin AS workspace_version, w.owner_id, w.deleted_at, w.preset_id, w.born_in_pool, coalesce(w.ttl_seconds, 0) AS ttl_seconds,
       w.deadline_at, w.max_deadline_at, t.default_ttl_seconds, t.activity_bump_seconds, t.max_ttl_seconds, t.dormant_after_seconds,
       t.delete_dormant_after_seconds, t.failure_ttl_seconds, t.is_autostart_allowed, c.id AS claim_id, c.claimant_id,
       c.preset_id AS claimed_preset_id
FROM jobs j
LEFT JOIN workspace_builds b ON b.job_id = j.id
LEFT JOIN workspaces w ON w.id = b.workspace_id
LEFT JOIN templates t ON t.id = w.template_id
LEFT JOIN claims c ON c.workspace_id = w.id AND c.built_at IS NULL AND b.transition = 'start'
WHERE j.id = $1 AND j.attempt = $2 AND ($3::uuid IS NULL OR j.organization_id = $3) AND j.status IN ('running', 'canceling');

-- name: complete_build
-- Ends a build well, all or nothing: its job with the last lines, its workspace (a delete ends it, a stop ends its run, a start may begin
-- one), its agents, its claim with the promise to say so, and the rehearsal of the claims that will follow, once for each preset of an
-- active Terraform version. No row if the attempt is not live any more, or the workspace has changed since it was read.
-- Agents of the workspace that the build did not make or keep end, for nobody runs what they ran. A new token means a new process, whose
-- life begins again. An id that is another workspace's makes the statement fail, for its name becomes null. The manifest is stored
-- encrypted, or in clear as long as there may be code that reads nothing else.
-- $1 job, $2 attempt, $3 the worker's organization or null, $4 the workspace's row as it was read, $5 final status, $6 now, $7 resources,
-- $8 agents, $9 their names, $10 token hashes, $11 manifests, $12 manifests, encrypted, $13 does a person's run begin, $14 its deadline or
-- null, $15 its maximum or null, $16 the claim or null, $17 did the build replace a resource, $18 subject, $19 payload, $20 the lines'
-- sequences, $21 times, $22 levels, $23 stages, $24 texts, $25 bytes, $26 the pool's user
WITH held AS MATERIALIZED (
    SELECT j.id AS job_id, b.id AS build_id, b.transition, b.stage, b.template_version_id, w.id AS workspace_id, w.organization_id,
           w.preset_id, w.template_id, w.latest_build_id = b.id AS is_latest
    FROM jobs j JOIN workspace_builds b ON b.job_id = j.id JOIN workspaces w ON w.id = b.workspace_id
    WHERE j.id = $1 AND j.attempt = $2 AND ($3::uuid IS NULL OR j.organization_id = $3) AND j.status IN ('running', 'canceling')
      AND w.xmin = $4
    FOR UPDATE OF j, w
), ended AS (
    UPDATE jobs SET status = $5, error = '', error_reason = '', finished_at = $6, log_bytes = log_bytes + $25
    FROM held WHERE jobs.id = held.job_id
), logged AS (
    INSERT INTO job_logs (job_id, attempt, sequence, written_at, level, stage, text)
    SELECT held.job_id, $2, line.* FROM held, unnest($20::bigint[], $21::timestamptz[], $22::text[], $23::text[], $24::text[]) AS line
    ON CONFLICT ON CONSTRAINT job_log_line_is_stored_once DO NOTHING
), built AS (
    UPDATE workspace_builds SET finished_at = $6, resources = $7 FROM held WHERE workspace_builds.id = held.build_id
), shown AS (
    UPDATE workspaces w SET
        latest_job_status = CASE WHEN held.is_latest THEN $5 ELSE w.latest_job_status END,
        latest_build_finished_at = CASE WHEN held.is_latest THEN $6 ELSE w.latest_build_finished_at END,
        deleted_at = CASE WHEN held.is_latest AND held.transition = 'delete' THEN $6 ELSE w.deleted_at END,
        deadline_at = CASE WHEN $13 THEN $14 WHEN held.is_latest AND held.transition <> 'start' THEN NULL ELSE w.deadline_at END,
        max_deadline_at = CASE WHEN $13 THEN $15 WHEN held.is_latest AND held.transition <> 'start' THEN NULL ELSE w.max_deadline_at END
    FROM held WHERE w.id = held.workspace_id
), forgotten AS (
    UPDATE agents SET deleted_at = $6, manifest = '{}', manifest_sealed = NULL
    FROM held WHERE agents.workspace_id = held.workspace_id AND agents.deleted_at IS NULL AND NOT agents.id = ANY ($8::uuid[])
), kept AS (
    INSERT INTO agents (id, workspace_id, name, token_hash, manifest, manifest_sealed, created_at)
    SELECT a.id, held.workspace_id, a.name, a.token_hash, CASE WHEN is_sealed THEN '{}' ELSE a.manifest END,
           CASE WHEN is_sealed THEN a.sealed END, $6
    FROM held, unnest($8::uuid[], $9::text[], $10::bytea[], $11::jsonb[], $12::bytea[]) AS a (id, name, token_hash, manifest, sealed),
         (SELECT EXISTS (SELECT FROM settings WHERE name = 'manifests_are_sealed') AS is_sealed) how
    ON CONFLICT (id) DO UPDATE SET
        name = CASE WHEN agents.workspace_id = excluded.workspace_id THEN excluded.name END,
        manifest = excluded.manifest, manifest_sealed = excluded.manifest_sealed, token_hash = excluded.token_hash, deleted_at = NULL,
        lifecycle = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.lifecycle ELSE 'created' END,
        first_ready_at = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.first_ready_at END,
        last_seen_at = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.last_seen_at END
), settled AS (
    UPDATE claims SET built_at = $6, error = '', has_replacements = $17
    FROM held WHERE claims.id = $16 AND claims.workspace_id = held.workspace_id AND claims.built_at IS NULL
    RETURNING claims.id
), promised AS (
    INSERT INTO outbox (subject, payload, created_at) SELECT $18, $19, $6 FROM settled RETURNING id
), first AS (
    UPDATE presets SET rehearsed_at = $6
    FROM held JOIN templates t ON t.id = held.template_id
    WHERE held.stage = 'create' AND presets.id = held.preset_id AND presets.rehearsed_at IS NULL
      AND t.provisioner_type = 'terraform' AND t.active_version_id = held.template_version_id
    RETURNING held.organization_id, held.build_id, held.template_version_id, t.provisioner_type, t.provisioner_tags
), rehearsal AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, rehearsed_build_id,
                      created_at, pending_since)
    SELECT gen_random_uuid(), organization_id, 'template_version_dry_run', provisioner_type, provisioner_tags, template_version_id, $26, true,
           build_id, $6, $6
    FROM first
    RETURNING id
)
SELECT (SELECT id FROM promised) AS outbox_id, EXISTS (SELECT FROM rehearsal) AS has_rehearsal FROM held;

-- name: get_rehearsal_names
-- How people call the template and the preset whose claim a job rehearsed.
-- $1 job
SELECT p.id AS preset_id, p.name AS preset, t.name AS template, v.name AS version
FROM jobs j JOIN workspace_builds b ON b.id = j.rehearsed_build_id JOIN workspaces w ON w.id = b.workspace_id
JOIN presets p ON p.id = w.preset_id JOIN templates t ON t.id = w.template_id JOIN template_versions v ON v.id = j.template_version_id
WHERE j.id = $1;

-- name: get_claim_names
-- How people call a claimed workspace, its template and its preset.
-- $1 claim
SELECT w.name AS workspace, t.name AS template, p.name AS preset
FROM claims c JOIN workspaces w ON w.id = c.workspace_id JOIN templates t ON t.id = w.template_id JOIN presets p ON p.id = c.preset_id
WHERE c.id = $1;

-- name: fail_claim
-- Notes why a claim build failed; no row if the workspace has no claim to build.
-- $1 workspace, $2 error
UPDATE claims SET error = $2 WHERE workspace_id = $1 AND built_at IS NULL RETURNING id;

-- name: refuse_pool
-- Stops a pool whose template or values no retry can mend; no row if it is known.
-- $1 preset, $2 why
UPDATE presets SET health = 'validation_failed', stop_reason = $2 WHERE id = $1 AND health <> 'validation_failed' RETURNING id;
