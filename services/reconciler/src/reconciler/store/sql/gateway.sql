-- name: check_agents
-- Everything a reinit stream's answer depends on, for many agents at once.
-- An agent made by a later build began under the claimant and has nothing to acknowledge.
-- The hashes are a subquery's, so that the planner does not know them and plans once: for one agent a plan takes longer than its run.
-- $1 token hashes
SELECT asked.position, a.id AS agent_id, a.workspace_id, w.born_in_pool, c.id AS claim_id, c.claimant_id, c.built_at, c.error AS claim_error,
       w.latest_job_status,
       (d.applied_at IS NOT NULL OR d.failed_at IS NOT NULL OR a.created_at > c.built_at) AS is_acknowledged
FROM unnest((SELECT $1::bytea[])) WITH ORDINALITY AS asked (token_hash, position)
JOIN agents a ON a.token_hash = asked.token_hash AND a.deleted_at IS NULL
JOIN workspaces w ON w.id = a.workspace_id AND w.deleted_at IS NULL
LEFT JOIN claims c ON c.workspace_id = w.id
LEFT JOIN claim_deliveries d ON d.claim_id = c.id AND d.agent_id = a.id
ORDER BY asked.position;

-- name: record_reinits
-- Notes steps of claims at agents, each when it happened first, in whatever order they are told of; before its claim was built nothing
-- has happened, whatever the clocks say. No row for one whose claim is not its agent's or not yet built.
-- An only agent's steps are its claim's. Where there are others, whose steps may be noted by somebody else at this moment, close_claims
-- has to look once these are committed.
-- $1 token hashes, $2 claims, $3 steps: delivered, applying, applied or failed, $4 errors, $5 when each happened
WITH said AS (
    SELECT s.position, c.id AS claim_id, a.id AS agent_id, s.step, s.error, greatest(s.at, c.built_at) AS at
    FROM unnest($1::bytea[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
        WITH ORDINALITY AS s (token_hash, claim_id, step, error, at, position)
    JOIN agents a ON a.token_hash = s.token_hash AND a.deleted_at IS NULL
    JOIN claims c ON c.id = s.claim_id AND c.workspace_id = a.workspace_id AND c.built_at IS NOT NULL
), noted AS (
    INSERT INTO claim_deliveries AS d (claim_id, agent_id, delivered_at, applying_at, applied_at, failed_at, error)
    SELECT claim_id, agent_id, min(at), min(at) FILTER (WHERE step = 'applying'), min(at) FILTER (WHERE step = 'applied'),
           min(at) FILTER (WHERE step = 'failed'), coalesce((array_agg(error ORDER BY position) FILTER (WHERE error <> ''))[1], '')
    FROM said GROUP BY claim_id, agent_id
    ORDER BY claim_id, agent_id -- one order of locks for all gateways
    ON CONFLICT (claim_id, agent_id) DO UPDATE SET
        delivered_at = least(d.delivered_at, excluded.delivered_at),
        applying_at = least(d.applying_at, excluded.applying_at),
        applied_at = least(d.applied_at, excluded.applied_at),
        failed_at = least(d.failed_at, excluded.failed_at),
        error = CASE WHEN d.error = '' THEN excluded.error ELSE d.error END
    RETURNING claim_id, agent_id, delivered_at, applied_at, error
), lone AS (
    SELECT noted.* FROM noted
    WHERE (SELECT array_agg(a.id) FROM claims c
           JOIN agents a ON a.workspace_id = c.workspace_id AND a.deleted_at IS NULL AND a.created_at <= c.built_at
           WHERE c.id = noted.claim_id) = ARRAY[noted.agent_id]
), closed AS (
    UPDATE claims SET
        delivered_at = least(claims.delivered_at, lone.delivered_at),
        applied_at = coalesce(claims.applied_at, lone.applied_at),
        error = CASE WHEN claims.error = '' THEN lone.error ELSE claims.error END
    FROM lone
    WHERE claims.id = lone.claim_id
      AND (claims.delivered_at IS NULL OR claims.delivered_at > lone.delivered_at OR (claims.applied_at IS NULL AND lone.applied_at IS NOT NULL)
           OR (claims.error = '' AND lone.error <> ''))
    RETURNING claims.id, claims.workspace_id, claims.claimed_at, claims.applied_at
)
SELECT said.position, said.claim_id, lone.claim_id IS NULL AS has_others, closed.workspace_id, closed.claimed_at, closed.applied_at
FROM said LEFT JOIN lone ON lone.claim_id = said.claim_id LEFT JOIN closed ON closed.id = said.claim_id
ORDER BY said.position;

-- name: lock_claims
-- Holds claims of several agents, in one order for all gateways.
-- $1 claims
SELECT id FROM claims WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE;

-- name: close_claims
-- Notes when every agent of a claim has been told, and when every one has applied it.
-- $1 claims
WITH progress AS (
    SELECT c.id, bool_and(d.delivered_at IS NOT NULL) AS delivered, bool_and(d.applied_at IS NOT NULL) AS applied,
           max(d.delivered_at) AS delivered_at, max(d.applied_at) AS applied_at, max(d.error) AS error
    FROM claims c
    JOIN agents a ON a.workspace_id = c.workspace_id AND a.deleted_at IS NULL AND a.created_at <= c.built_at
    LEFT JOIN claim_deliveries d ON d.claim_id = c.id AND d.agent_id = a.id
    WHERE c.id = ANY ($1::uuid[])
    GROUP BY c.id
)
UPDATE claims SET
    delivered_at = coalesce(claims.delivered_at, CASE WHEN progress.delivered THEN progress.delivered_at END),
    applied_at = coalesce(claims.applied_at, CASE WHEN progress.applied THEN progress.applied_at END),
    error = CASE WHEN claims.error = '' THEN coalesce(progress.error, '') ELSE claims.error END
FROM progress WHERE claims.id = progress.id
RETURNING claims.workspace_id, claims.claimed_at, claims.applied_at;

-- name: get_manifest
-- What an agent has to run, and for whom.
-- $1 token hash
SELECT a.id AS agent_id, a.name AS agent_name, a.workspace_id, a.manifest, a.manifest_sealed, w.name AS workspace_name, w.born_in_pool,
       u.id AS owner_id, u.username AS owner_name, u.is_system, c.id AS claim_id, c.built_at
FROM agents a
JOIN workspaces w ON w.id = a.workspace_id
JOIN users u ON u.id = w.owner_id
LEFT JOIN claims c ON c.workspace_id = w.id
WHERE a.token_hash = $1 AND a.deleted_at IS NULL;

-- name: record_lifecycle
-- Notes what an agent says of itself; an older word never replaces a newer one.
-- $1 token hash, $2 lifecycle, $3 changed at, $4 error, $5 now
UPDATE agents SET lifecycle = $2, lifecycle_changed_at = $3, lifecycle_error = $4, last_seen_at = greatest(last_seen_at, $5),
       disconnected_at = CASE WHEN disconnected_at >= $5 THEN disconnected_at END,
       first_ready_at = CASE WHEN $2 = 'ready' THEN coalesce(first_ready_at, $5) ELSE first_ready_at END
WHERE token_hash = $1 AND deleted_at IS NULL AND (lifecycle_changed_at IS NULL OR lifecycle_changed_at <= $3)
RETURNING workspace_id;

-- name: find_agent
-- Finds an agent by its token.
-- $1 token hash
SELECT id, workspace_id, log_bytes FROM agents WHERE token_hash = $1 AND deleted_at IS NULL;

-- name: record_connected
-- Notes that agents are connected. Returns the workspaces for which this is news.
-- A gateway that has merely not noticed yet that its connection is dead goes on naming the agent: that does not take it from another.
-- $1 token hashes, $2 now, $3 those seen after this were connected already, $4 the gateway if it says, $5 which of them it heard themselves
WITH seen AS (
    SELECT id, workspace_id, (last_seen_at IS NULL OR last_seen_at <= $3 OR disconnected_at >= last_seen_at) AS is_news,
           token_hash IN (SELECT unnest($5::bytea[])) AS has_arrived
    FROM agents WHERE token_hash = ANY ($1::bytea[]) AND deleted_at IS NULL
    ORDER BY id FOR UPDATE
), noted AS (
    UPDATE agents SET last_seen_at = $2, disconnected_at = NULL,
        seen_by = CASE WHEN $4::uuid IS NULL OR has_arrived OR is_news THEN $4 ELSE coalesce(seen_by, $4) END
    FROM seen WHERE agents.id = seen.id
)
SELECT DISTINCT workspace_id FROM seen WHERE is_news;

-- name: record_disconnected
-- Notes that agents have gone, but for those that another gateway has heard since.
-- $1 token hashes, $2 now, $3 the gateway that lost them, if it says
WITH gone AS (
    SELECT id FROM agents
    WHERE token_hash = ANY ($1::bytea[]) AND deleted_at IS NULL AND ($3::uuid IS NULL OR seen_by IS NULL OR seen_by = $3)
    ORDER BY id FOR UPDATE
)
UPDATE agents SET disconnected_at = $2 FROM gone WHERE agents.id = gone.id
RETURNING workspace_id;

-- name: note_report
-- Notes that gateways are heard, and since when without a gap. Rarely writes, as every report comes by.
-- $1 now, $2 a last report before this leaves a gap, $3 one after this is late enough
INSERT INTO settings (name, value, updated_at) VALUES ('gateways_heard_since', to_jsonb($1::timestamptz), $1)
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at,
    value = CASE WHEN settings.updated_at <= $2 THEN excluded.value ELSE settings.value END
WHERE settings.updated_at < $3;

-- name: insert_agent_logs
-- Stores lines of an agent's scripts, each number of a run once. Runs send in the order of their numbers, and again from the first
-- line that was not answered for, so the highest number says it all. Lines without a run, or a number, are stored as often as they come.
-- $1 agent, $2 times, $3 levels, $4 stages, $5 texts, $6 how many bytes each is, $7 the run that numbers them, if any, $8 numbers
WITH locked AS (
    SELECT id FROM agents WHERE id = $1 FOR NO KEY UPDATE
), mark AS (
    INSERT INTO agent_log_sessions AS s (agent_id, session_id, last_sequence, previous_sequence)
    SELECT id, $7, (SELECT coalesce(max(number), 0) FROM unnest($8::bigint[]) AS number), 0 FROM locked WHERE $7::uuid IS NOT NULL
    ON CONFLICT (agent_id, session_id) DO UPDATE SET
        previous_sequence = s.last_sequence, last_sequence = greatest(s.last_sequence, excluded.last_sequence)
    RETURNING previous_sequence
), fresh AS (
    SELECT line.* FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::bigint[], $8::bigint[])
        WITH ORDINALITY AS line (written_at, level, stage, text, bytes, number, position)
    LEFT JOIN mark ON true
    WHERE mark.previous_sequence IS NULL OR line.number <= 0 OR line.number > mark.previous_sequence
), counted AS (
    UPDATE agents SET log_bytes = log_bytes + coalesce((SELECT sum(bytes) FROM fresh), 0) FROM locked WHERE agents.id = locked.id
)
INSERT INTO agent_logs (agent_id, written_at, level, stage, text)
SELECT $1, written_at, level, stage, text FROM fresh ORDER BY position;

-- name: list_pools_of_workspaces
-- The presets workspaces of the pool belong to.
-- $1 workspaces, $2 the pool's user
SELECT DISTINCT preset_id FROM workspaces WHERE id = ANY ($1::uuid[]) AND owner_id = $2 AND preset_id IS NOT NULL;
