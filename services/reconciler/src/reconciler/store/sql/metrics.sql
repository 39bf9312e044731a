-- name: count_pool_misses
-- How many requests were not served from a pool, by reason.
SELECT pool_miss AS reason, count(*) AS total FROM workspaces WHERE pool_miss <> '' GROUP BY pool_miss;

-- name: count_jobs
-- How many jobs wait and how many are in a worker's hands.
SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status <> 'pending') AS running
FROM jobs WHERE status IN ('pending', 'running', 'canceling');

-- name: advance_claim_mark
-- Moves the mark up to which the steps of claims have been measured, and says where it was; the first time there is none.
-- $1 the new mark
WITH old AS (
    SELECT value FROM settings WHERE name = 'claims_measured_until' FOR UPDATE
), moved AS (
    INSERT INTO settings (name, value, updated_at) VALUES ('claims_measured_until', to_jsonb($1::timestamptz), $1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
    WHERE settings.updated_at < excluded.updated_at
    RETURNING name
)
SELECT (old.value #>> '{}')::timestamptz AS mark, EXISTS (SELECT FROM moved) AS has_moved FROM (SELECT) AS one LEFT JOIN old ON true;

-- name: list_claim_steps
-- Claims that took a step within a span of time.
-- $1 after, $2 up to
SELECT requested_at, claimed_at, built_at, delivered_at, applied_at
FROM claims
WHERE applied_at IS NULL AND claimed_at <= $2 AND greatest(claimed_at, built_at, delivered_at) > $1
UNION ALL
SELECT requested_at, claimed_at, built_at, delivered_at, applied_at
FROM claims
WHERE applied_at > $1;
