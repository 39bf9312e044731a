-- name: list_due
-- Finds workspaces of people for which something is due, the longest due first. What is due when is what core/lifecycle/decisions.py
-- says, which decides again under a lock. Never a prebuild: lifecycle rules are not for the pool.
-- $1 the pool's user, $2 due until, $3 how many at most, $4 workspaces to leave alone, $5 seconds after which what failed is tried again
SELECT due.id, due.due_at
FROM (
    SELECT w.id,
           CASE WHEN used.at > w.dormant_at THEN used.at
                WHEN w.dormant_at IS NOT NULL THEN least(
                    CASE WHEN w.latest_transition = 'delete' AND w.deleting_at IS NOT NULL THEN greatest(w.deleting_at, retry.at)
                         ELSE w.deleting_at END,
                    CASE WHEN w.latest_transition = 'start' THEN w.dormant_at
                         WHEN w.latest_transition = 'stop' AND w.latest_job_status <> 'succeeded' THEN retry.at END)
                ELSE least(
                    CASE WHEN t.dormant_after_seconds > 0 THEN used.at + make_interval(secs => t.dormant_after_seconds) END,
                    CASE WHEN w.latest_transition = 'start' THEN w.deadline_at
                         WHEN w.latest_transition = 'stop' AND w.latest_job_status <> 'succeeded' AND w.deadline_at IS NOT NULL
                         THEN greatest(w.deadline_at, retry.at) END,
                    CASE WHEN w.latest_transition = 'start' AND w.latest_job_status = 'failed' AND t.failure_ttl_seconds > 0
                         THEN w.latest_build_finished_at + make_interval(secs => t.failure_ttl_seconds) END,
                    CASE WHEN t.is_autostart_allowed AND u.disabled_at IS NULL AND w.latest_transition <> 'delete'
                              AND w.autostart_schedule IS NOT NULL THEN w.next_start_at END)
           END AS due_at
    FROM workspaces w
    JOIN templates t ON t.id = w.template_id
    JOIN users u ON u.id = w.owner_id
    CROSS JOIN LATERAL (SELECT coalesce(w.last_used_at, w.created_at) AS at) used
    CROSS JOIN LATERAL (SELECT w.latest_build_finished_at + make_interval(secs => $5::double precision) AS at) retry
    WHERE w.owner_id <> $1 AND w.deleted_at IS NULL AND w.latest_job_status IN ('succeeded', 'failed', 'canceled')
) due
WHERE due.due_at <= $2 AND NOT due.id = ANY ($4::uuid[])
ORDER BY due.due_at, due.id
LIMIT $3;

-- name: hold_lifecycle
-- Holds a workspace of a person and reads what its lifecycle depends on; no row for a prebuild or a deleted one.
-- $1 workspace, $2 the pool's user
SELECT w.id, w.owner_id, w.organization_id, w.name, u.username AS owner_name, w.latest_transition, w.latest_job_status,
       w.latest_build_finished_at, w.autostart_schedule, w.autostart_timezone, w.next_start_at, coalesce(w.ttl_seconds, 0) AS ttl_seconds, w.deadline_at, w.max_deadline_at, w.dormant_at, w.deleting_at,
       coalesce(w.last_used_at, w.created_at) AS used_at, u.disabled_at IS NULL AS is_owner_active,
       t.default_ttl_seconds, t.activity_bump_seconds, t.max_ttl_seconds, t.dormant_after_seconds, t.delete_dormant_after_seconds,
       t.failure_ttl_seconds, t.is_autostart_allowed
FROM workspaces w
JOIN templates t ON t.id = w.template_id
JOIN users u ON u.id = w.owner_id
WHERE w.id = $1 AND w.owner_id <> $2 AND w.deleted_at IS NULL
FOR UPDATE OF w;

-- name: is_prebuild
-- Says whether the pool owns a workspace; no row if there is none.
-- $1 workspace, $2 the pool's user
SELECT owner_id = $2 FROM workspaces WHERE id = $1 AND deleted_at IS NULL;

-- name: set_deadlines
-- Sets when a person's workspace stops.
-- $1 workspace, $2 the pool's user, $3 deadline or null, $4 maximum or null
UPDATE workspaces SET deadline_at = $3, max_deadline_at = $4 WHERE id = $1 AND owner_id <> $2;

-- name: set_lifecycle
-- Sets what the owner of a workspace wants of it.
-- $1 workspace, $2 the pool's user, $3 cron or null, $4 time zone or null, $5 next start or null, $6 seconds to a stop
UPDATE workspaces SET autostart_schedule = $3, autostart_timezone = $4, next_start_at = $5, ttl_seconds = $6
WHERE id = $1 AND owner_id <> $2;

-- name: plan_start
-- Sets when a person's workspace starts next.
-- $1 workspace, $2 the pool's user, $3 next start or null
UPDATE workspaces SET next_start_at = $3 WHERE id = $1 AND owner_id <> $2;

-- name: set_dormant
-- Puts a person's workspace to rest, or wakes it.
-- $1 workspace, $2 the pool's user, $3 dormant since or null, $4 when it goes or null
UPDATE workspaces SET dormant_at = $3, deleting_at = $4 WHERE id = $1 AND owner_id <> $2;

-- name: note_use
-- Notes that a person's workspace is used. A dormant one is woken by the executor.
-- $1 workspace, $2 the pool's user, $3 now
UPDATE workspaces SET last_used_at = greatest(last_used_at, $3) WHERE id = $1 AND owner_id <> $2;

-- name: set_template_policy
-- Sets what a template's workspaces do by themselves; no row if it is deleted.
-- $1 template, $2 default time to a stop, $3 activity bump, $4 maximum time to a stop, $5 dormant after, $6 deleted after, $7 failure ttl,
-- $8 is autostart allowed
UPDATE templates SET default_ttl_seconds = $2, activity_bump_seconds = $3, max_ttl_seconds = $4, dormant_after_seconds = $5,
       delete_dormant_after_seconds = $6, failure_ttl_seconds = $7, is_autostart_allowed = $8
WHERE id = $1 AND deleted_at IS NULL
RETURNING id;

-- name: replan_deletions
-- Gives the dormant workspaces of a template the whole of its new time.
-- $1 template, $2 the pool's user, $3 when they go or null
UPDATE workspaces SET deleting_at = $3 WHERE template_id = $1 AND owner_id <> $2 AND dormant_at IS NOT NULL AND deleted_at IS NULL;
