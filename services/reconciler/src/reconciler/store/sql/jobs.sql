-- name: acquire_jobs
-- Takes the next jobs a worker may run, with all that it must know of the builds it runs, or rehearses the claims of: people before the
-- pool, then builds and imports before dry runs, then the oldest. The attempts it opens are the fence. A worker whose key was revoked while its stream was open gets none.
-- Says, too, how many others are there for the same worker: if there are none, nobody has to look before one is posted.
-- $1 worker, $2 provisioner types, $3 the worker's tags, $4 organization or null for any, $5 now, $6 the worker's key, $7 how many at most,
-- $8 how many others are counted at most
WITH next AS (
    SELECT id FROM jobs
    WHERE status = 'pending' AND provisioner_type = ANY ($2::text[]) AND tags <@ $3::jsonb
      AND ($4::uuid IS NULL OR organization_id = $4)
      AND EXISTS (SELECT FROM service_keys WHERE service_keys.id = $6 AND revoked_at IS NULL)
    ORDER BY is_system, kind = 'template_version_dry_run', created_at, id
    LIMIT $7 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE jobs SET status = 'running', attempt = attempt + 1, worker_id = $1, started_at = $5, heartbeat_at = NULL
    FROM next WHERE jobs.id = next.id
    RETURNING jobs.*
), shown AS (
    UPDATE workspaces SET latest_job_status = 'running' FROM taken WHERE latest_job_id = taken.id
    RETURNING workspaces.id, workspaces.latest_job_id
), others AS (
    SELECT FROM jobs
    WHERE status = 'pending' AND provisioner_type = ANY ($2::text[]) AND tags <@ $3::jsonb
      AND ($4::uuid IS NULL OR organization_id = $4) AND NOT EXISTS (SELECT FROM taken WHERE taken.id = jobs.id)
    LIMIT $8
)
SELECT taken.id, taken.attempt, taken.kind, taken.provisioner_type, taken.traceparent, taken.template_version_id, taken.parameters,
       v.archive_sha256, v.name AS version_name, t.name AS template_name, shown.id AS workspace_id,
       taken.rehearsed_build_id, b.id AS build_id, b.transition, b.stage, b.parameters AS build_parameters,
       w.id AS build_workspace_id, w.name AS workspace_name, u.id AS owner_id, u.username, u.full_name, u.email,
       w.template_id, o.name AS organization_name,
       (SELECT p.parameters FROM workspace_builds p WHERE p.workspace_id = w.id AND p.number < b.number ORDER BY p.number DESC LIMIT 1)
           AS previous_parameters,
       (SELECT count(*) FROM others) AS others
FROM taken
JOIN template_versions v ON v.id = taken.template_version_id
JOIN templates t ON t.id = v.template_id
LEFT JOIN shown ON shown.latest_job_id = taken.id
LEFT JOIN workspace_builds b ON b.id = coalesce(taken.rehearsed_build_id, (SELECT id FROM workspace_builds WHERE job_id = taken.id))
LEFT JOIN workspaces w ON w.id = b.workspace_id
LEFT JOIN users u ON u.id = w.owner_id
LEFT JOIN organizations o ON o.id = w.organization_id
ORDER BY taken.is_system, taken.kind = 'template_version_dry_run', taken.created_at, taken.id;

-- name: renew_job
-- A sign of life of the live attempt; no row if it is superseded or over.
-- $1 job, $2 attempt, $3 the worker's organization or null, $4 now
UPDATE jobs SET heartbeat_at = $4
WHERE id = $1 AND attempt = $2 AND ($3::uuid IS NULL OR organization_id = $3) AND status IN ('running', 'canceling')
RETURNING status, cancel_requested_at, log_bytes;

-- name: find_attempt
-- Reads where a job stands, for whoever was refused.
-- $1 job, $2 the worker's organization or null
SELECT status, attempt FROM jobs WHERE id = $1 AND ($2::uuid IS NULL OR organization_id = $2);

-- name: lock_attempt
-- Holds the live attempt of a job for the rest of the transaction; no row if it is superseded or over.
-- $1 job, $2 attempt, $3 the worker's organization or null
SELECT id, kind, status, template_version_id, organization_id, provisioner_type, log_bytes FROM jobs
WHERE id = $1 AND attempt = $2 AND ($3::uuid IS NULL OR organization_id = $3) AND status IN ('running', 'canceling')
FOR UPDATE;

-- name: insert_log_lines
-- Stores lines and counts what the job has written; a line that was sent twice is stored once.
-- $1 job, $2 attempt, $3 sequences, $4 times, $5 levels, $6 stages, $7 texts, $8 bytes
WITH counted AS (
    UPDATE jobs SET log_bytes = log_bytes + $8 WHERE id = $1
)
INSERT INTO job_logs (job_id, attempt, sequence, written_at, level, stage, text)
SELECT $1, $2, line.* FROM unnest($3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[]) AS line
ON CONFLICT ON CONSTRAINT job_log_line_is_stored_once DO NOTHING;

-- name: list_log_lines
-- Reads a page of a job's log.
-- $1 job, $2 after this position, $3 how many at most
SELECT position, written_at, level, stage, text FROM job_logs WHERE job_id = $1 AND position > $2 ORDER BY position LIMIT $3;

-- name: finish_job
-- Ends a job.
-- $1 job, $2 final status, $3 error, $4 error reason, $5 now
UPDATE jobs SET status = $2, error = $3, error_reason = $4, finished_at = $5 WHERE id = $1;

-- name: release_job
-- Hands a running job back to the queue, or lets a waiting one wait anew.
-- $1 job, $2 now
WITH released AS (
    UPDATE jobs SET worker_id = NULL, pending_since = $2, status = 'pending' WHERE id = $1 AND status IN ('pending', 'running') RETURNING id
)
UPDATE workspaces SET latest_job_status = 'pending' FROM released WHERE latest_job_id = released.id;

-- name: lock_job
-- Holds a job for the rest of the transaction.
-- $1 job
SELECT id, kind, status, attempt, organization_id, template_version_id, initiator_id, is_system, error, cancel_requested_at,
       provisioner_type, heartbeat_at
FROM jobs WHERE id = $1 FOR UPDATE;

-- name: get_job
-- Reads where a job stands and whose it is.
-- $1 job
SELECT j.id, j.kind, j.status, j.error, j.organization_id, j.initiator_id, w.owner_id
FROM jobs j LEFT JOIN workspace_builds b ON b.job_id = j.id LEFT JOIN workspaces w ON w.id = b.workspace_id
WHERE j.id = $1;

-- name: request_cancel
-- Asks the worker of a running job to stop.
-- $1 job, $2 now
WITH asked AS (
    UPDATE jobs SET status = 'canceling', cancel_requested_at = coalesce(cancel_requested_at, $2)
    WHERE id = $1 AND status IN ('running', 'canceling') RETURNING id
)
UPDATE workspaces SET latest_job_status = 'canceling' FROM asked WHERE latest_job_id = asked.id;

-- name: list_silent_jobs
-- Finds jobs nobody hears of.
-- $1 acquired before, without any heartbeat; $2 last heartbeat before; $3 pending since before; $4 how many at most
SELECT id, status, attempt, heartbeat_at,
       CASE WHEN status = 'pending' THEN 'stale' WHEN heartbeat_at IS NULL THEN 'unconfirmed' ELSE 'hung' END AS silence
FROM jobs
WHERE (status IN ('running', 'canceling') AND heartbeat_at IS NULL AND started_at < $1)
   OR (status IN ('running', 'canceling') AND heartbeat_at < $2)
   OR (status = 'pending' AND pending_since < $3)
ORDER BY created_at
LIMIT $4;

-- name: upsert_worker
-- Notes a provisioner; no row if its key was revoked.
-- $1 id, $2 name, $3 version, $4 types, $5 tags, $6 its key, $7 now
INSERT INTO workers (id, name, version, provisioner_types, tags, service_key_id, last_seen_at)
SELECT $1, $2, $3, $4, $5, id, $7 FROM service_keys WHERE id = $6 AND revoked_at IS NULL
ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at
RETURNING id;

-- name: delete_old_workers
-- Forgets provisioners that have been gone for long.
-- $1 last seen before
DELETE FROM workers WHERE last_seen_at < $1;

-- name: get_archive
-- Reads the files of a job's template version.
-- $1 job
SELECT a.content FROM jobs j
JOIN template_versions v ON v.id = j.template_version_id JOIN archives a ON a.sha256 = v.archive_sha256
WHERE j.id = $1;

-- name: get_tfstate
-- Reads the newest tfstate that exists before or in a job's build, or in the one it rehearses the claim of.
-- $1 job
SELECT p.workspace_id, p.tfstate FROM workspace_builds b
JOIN workspace_builds p ON p.workspace_id = b.workspace_id AND p.number <= b.number
WHERE (b.job_id = $1 OR b.id = (SELECT rehearsed_build_id FROM jobs WHERE id = $1)) AND p.tfstate IS NOT NULL
ORDER BY p.number DESC LIMIT 1;

-- name: update_tfstate
-- Keeps what a build has made so far.
-- $1 job, $2 the tfstate
UPDATE workspace_builds SET tfstate = $2 WHERE job_id = $1;

-- name: find_workspace_of_job
-- Whose build a job runs.
-- $1 job
SELECT workspace_id FROM workspace_builds WHERE job_id = $1;

-- name: list_tfstate_headers
-- The first bytes of every living workspace's newest tfstate: they say which key it needs.
SELECT substring(newest.tfstate FROM 1 FOR 16) AS header
FROM workspaces w, LATERAL (
    SELECT b.tfstate FROM workspace_builds b WHERE b.workspace_id = w.id AND b.tfstate IS NOT NULL ORDER BY b.number DESC LIMIT 1
) newest
WHERE w.deleted_at IS NULL;

-- name: insert_job
-- Queues a job.
-- $1 id, $2 organization, $3 kind, $4 provisioner type, $5 tags, $6 version, $7 initiator, $8 is it the pool's, $9 parameters,
-- $10 traceparent, $11 now
INSERT INTO jobs (id, organization_id, kind, provisioner_type, tags, template_version_id, initiator_id, is_system, parameters,
                  traceparent, created_at, pending_since)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11);

-- name: queue_positions
-- How many jobs of the same organization are before each of these, and what tells how long that may take: how many of those are before it
-- for the same workers, which are those of its organization, type and tags, how long jobs of these took lately, by the newest thousand of
-- the type, and how many of them run now. No row for one that is not pending.
-- $1 jobs
SELECT q.id, q.position, q.ahead, lately.seconds, (
    SELECT count(*) FROM jobs h
    WHERE h.status IN ('running', 'canceling') AND h.provisioner_type = q.provisioner_type AND h.organization_id = q.organization_id
      AND h.tags = q.tags
) AS in_hand
FROM (
    SELECT j.id, j.organization_id, j.provisioner_type, j.tags,
           row_number() OVER (PARTITION BY j.organization_id ORDER BY j.is_system, j.kind = 'template_version_dry_run', j.created_at, j.id) - 1 AS position,
           row_number() OVER (PARTITION BY j.organization_id, j.provisioner_type, j.tags
                              ORDER BY j.is_system, j.kind = 'template_version_dry_run', j.created_at, j.id) - 1 AS ahead
    FROM jobs j
    WHERE j.status = 'pending' AND j.is_system <= (SELECT bool_or(mine.is_system) FROM jobs mine WHERE mine.id = ANY ($1::uuid[]))
) q, LATERAL (
    SELECT avg(extract(epoch FROM ended.finished_at - ended.started_at))::float8 AS seconds FROM (
        SELECT recent.finished_at, recent.started_at FROM (
            SELECT organization_id, tags, finished_at, started_at FROM jobs e
            WHERE e.provisioner_type = q.provisioner_type AND e.finished_at IS NOT NULL AND e.started_at IS NOT NULL
            ORDER BY e.finished_at DESC LIMIT 1000
        ) recent
        WHERE recent.organization_id = q.organization_id AND recent.tags = q.tags
        ORDER BY recent.finished_at DESC LIMIT 50
    ) ended
) lately
WHERE q.id = ANY ($1::uuid[]);
