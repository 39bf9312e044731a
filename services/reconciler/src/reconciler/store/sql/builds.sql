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
-- Shows the end of a job on its build and workspace; a succeeded delete ends the workspace, a succeeded stop its run.
-- $1 job, $2 final status, $3 resources, $4 now
WITH build AS (
    UPDATE workspace_builds SET finished_at = $4, resources = $3 WHERE job_id = $1
    RETURNING id, workspace_id, transition
)
UPDATE workspaces SET latest_job_status = $2, latest_build_finished_at = $4,
       deleted_at = CASE WHEN build.transition = 'delete' AND $2 = 'succeeded' THEN $4 ELSE deleted_at END,
       deadline_at = CASE WHEN build.transition <> 'start' AND $2 = 'succeeded' THEN NULL ELSE deadline_at END,
       max_deadline_at = CASE WHEN build.transition <> 'start' AND $2 = 'succeeded' THEN NULL ELSE max_deadline_at END
FROM build WHERE workspaces.id = build.workspace_id AND workspaces.latest_build_id = build.id;

-- name: forget_agents
-- Ends the agents of a workspace that its newest build did not make or keep; nobody runs what they ran.
-- $1 workspace, $2 the agents that stay, $3 now
UPDATE agents SET deleted_at = $3, manifest = '{}', manifest_sealed = NULL WHERE workspace_id = $1 AND deleted_at IS NULL AND NOT id = ANY ($2::uuid[]);

-- name: upsert_agent
-- Stores an agent a build made or kept. A new token means a new process, whose life begins again. No row if the id is another
-- workspace's. The manifest is stored encrypted, or in clear as long as there may be code that reads nothing else.
-- $1 id, $2 workspace, $3 name, $4 token hash, $5 manifest, $6 now, $7 manifest, encrypted
INSERT INTO agents (id, workspace_id, name, token_hash, manifest, manifest_sealed, created_at)
SELECT $1, $2, $3, $4, CASE WHEN is_sealed THEN '{}' ELSE $5::jsonb END, CASE WHEN is_sealed THEN $7::bytea END, $6
FROM (SELECT EXISTS (SELECT FROM settings WHERE name = 'manifests_are_sealed') AS is_sealed) how
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, manifest = excluded.manifest, manifest_sealed = excluded.manifest_sealed, token_hash = excluded.token_hash, deleted_at = NULL,
    lifecycle = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.lifecycle ELSE 'created' END,
    first_ready_at = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.first_ready_at END,
    last_seen_at = CASE WHEN agents.token_hash = excluded.token_hash THEN agents.last_seen_at END
WHERE agents.workspace_id = excluded.workspace_id
RETURNING id;

-- name: settle_claim
-- Makes a workspace's claim deliverable once a start build under the claimant has succeeded; no row if there is none to settle.
-- $1 workspace, $2 now, $3 did the build replace a resource
UPDATE claims SET built_at = $2, error = '', has_replacements = $3 WHERE workspace_id = $1 AND built_at IS NULL
RETURNING id, workspace_id, claimant_id, preset_id;

-- name: queue_rehearsal
-- Queues, once for each preset, a dry run that plans a claim upon what the first prebuild's build made. No row if there is nothing to
-- queue: the build is no prebuild's, another version is active, or a rehearsal was queued before.
-- $1 build, $2 the pool's user, $3 now
WITH first AS (
    UPDATE presets SET rehearsed_at = $3
    FROM workspace_builds b JOIN workspaces w ON w.id = b.workspace_id JOIN templates t ON t.id = w.template_id
    WHERE b.id = $1 AND b.stage = 'create' AND presets.id = w.preset_id AND presets.rehearsed_at IS NULL
      AND t.provisioner_type = 'terraform' AND t.active_version_id = b.template_version_id
    RETURNING w.organization_id, t.provisioner_type, t.provisioner_tags, b.template_version_id
)
INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, rehearsed_build_id,
                  created_at, pending_since)
SELECT gen_random_uuid(), organization_id, 'template_version_dry_run', provisioner_type, provisioner_tags, template_version_id, $2, true,
       $1, $3, $3
FROM first
RETURNING id;

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
