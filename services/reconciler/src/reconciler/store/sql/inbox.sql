-- name: list_inbox
-- Reads somebody's inbox, newest first.
-- $1 user, $2 only what is unread, $3 and $4 below where a page ended or null, $5 how many at most
SELECT d.id, d.created_at, d.read_at, n.kind, n.message, n.facts, o.name AS organization
FROM notification_deliveries d
JOIN notifications n ON n.id = d.notification_id
JOIN organizations o ON o.id = n.organization_id
WHERE d.recipient_id = $1 AND d.channel = 'inbox' AND (NOT $2 OR d.read_at IS NULL)
  AND ($3::timestamptz IS NULL OR (d.created_at, d.id) < ($3, $4::uuid))
ORDER BY d.created_at DESC, d.id DESC LIMIT $5;

-- name: count_unread
-- How much of somebody's inbox is unread.
-- $1 user
SELECT count(*)::int FROM notification_deliveries WHERE recipient_id = $1 AND channel = 'inbox' AND read_at IS NULL;

-- name: mark_read
-- Notes that somebody has read these messages of theirs, or all of them.
-- $1 user, $2 ids or null for all, $3 now
UPDATE notification_deliveries SET read_at = $3
WHERE recipient_id = $1 AND channel = 'inbox' AND read_at IS NULL AND ($2::uuid[] IS NULL OR id = ANY ($2));

-- name: count_own
-- How many of these messages are in somebody's inbox.
-- $1 user, $2 ids
SELECT count(*)::int FROM notification_deliveries WHERE recipient_id = $1 AND channel = 'inbox' AND id = ANY ($2::uuid[]);

-- name: list_preferences
-- Where somebody differs from the defaults.
-- $1 user
SELECT kind, channel, is_on FROM notification_preferences WHERE user_id = $1 ORDER BY kind, channel;

-- name: set_preference
-- Keeps what somebody wants of a kind on a channel. No row if it was so already.
-- $1 user, $2 kind, $3 channel, $4 wanted
INSERT INTO notification_preferences (user_id, kind, channel, is_on) VALUES ($1, $2, $3, $4)
ON CONFLICT (user_id, kind, channel) DO UPDATE SET is_on = excluded.is_on WHERE notification_preferences.is_on <> excluded.is_on
RETURNING kind;

-- name: get_address
-- Where somebody's mail goes.
-- $1 user
SELECT coalesce(nullif(notification_email, ''), email) FROM users WHERE id = $1;

-- name: set_address
-- Sets where somebody's mail goes; empty is the address of their account, which stays as it is. No row if it went there already.
-- $1 user, $2 address
UPDATE users SET notification_email = $2 WHERE id = $1 AND NOT is_system AND notification_email <> $2 RETURNING id;

-- name: list_deliveries
-- Reads deliveries, newest first.
-- $1 status or empty, $2 channel or empty, $3 and $4 below where a page ended or null, $5 how many at most
SELECT d.id, d.channel, d.status, d.attempts, d.due_at, d.created_at, d.finished_at, d.error, n.kind, n.message, n.facts,
       o.name AS organization, coalesce(u.username, '') AS recipient
FROM notification_deliveries d
JOIN notifications n ON n.id = d.notification_id
JOIN organizations o ON o.id = n.organization_id
LEFT JOIN users u ON u.id = d.recipient_id
WHERE ($1 = '' OR d.status = $1) AND ($2 = '' OR d.channel = $2)
  AND ($3::timestamptz IS NULL OR (d.created_at, d.id) < ($3, $4::uuid))
ORDER BY d.created_at DESC, d.id DESC LIMIT $5;

-- name: revive_deliveries
-- Lets dead deliveries be tried again from the first attempt: these, or all of them. What was for a sink that is set up no more is
-- planned anew for those of its channel that have not had it; if there are none, it stays dead.
-- $1 ids or null for all, $2 now, $3 channels and $4 targets of the sinks there are
WITH sinks AS (
    SELECT s.channel, s.target FROM unnest($3::text[], $4::text[]) AS s (channel, target)
), dead AS (
    SELECT d.*, EXISTS (SELECT FROM sinks s WHERE s.channel = d.channel AND s.target = d.target) AS has_sink
    FROM notification_deliveries d WHERE d.status = 'dead' AND ($1::uuid[] IS NULL OR d.id = ANY ($1)) FOR UPDATE
), revived AS (
    UPDATE notification_deliveries d SET status = 'pending', attempts = 0, due_at = $2, finished_at = NULL
    FROM dead WHERE d.id = dead.id AND dead.has_sink RETURNING d.id
), elsewhere AS (
    SELECT dead.id, dead.notification_id, dead.channel, s.target, dead.recipient_id, dead.created_at
    FROM dead JOIN sinks s ON s.channel = dead.channel
    WHERE NOT dead.has_sink AND NOT EXISTS (
        SELECT FROM notification_deliveries o
        WHERE o.notification_id = dead.notification_id AND o.channel = s.channel AND o.target = s.target
          AND o.recipient_id IS NOT DISTINCT FROM dead.recipient_id)
), planned AS (
    INSERT INTO notification_deliveries (id, notification_id, channel, target, recipient_id, status, due_at, created_at)
    SELECT DISTINCT ON (notification_id, channel, target, recipient_id)
           gen_random_uuid(), notification_id, channel, target, recipient_id, 'pending', $2, created_at
    FROM elsewhere ON CONFLICT DO NOTHING
), replaced AS (
    DELETE FROM notification_deliveries d WHERE d.id IN (SELECT id FROM elsewhere) RETURNING d.id
)
SELECT id FROM revived UNION ALL SELECT id FROM replaced;
