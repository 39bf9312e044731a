-- name: notify_of_pool
-- Tells those who look after a pool's templates something, the first time for this key.
-- $1 key, $2 preset, $3 kind, $4 message, $5 now
INSERT INTO notifications (key, organization_id, kind, message, facts, created_at)
SELECT $1, t.organization_id, $3, $4, jsonb_build_object('template', t.name, 'version', v.name, 'preset', p.name), $5
FROM presets p JOIN template_versions v ON v.id = p.template_version_id JOIN templates t ON t.id = v.template_id
WHERE p.id = $2
ON CONFLICT (key) DO NOTHING;

-- name: notify_of_claim
-- Tells a claimant what became of their claim, the first time for this key.
-- $1 key, $2 claim, $3 kind, $4 message, $5 facts, $6 now
INSERT INTO notifications (key, organization_id, kind, message, facts, recipient_id, created_at)
SELECT $1, w.organization_id, $3, $4, $5, c.claimant_id, $6
FROM claims c JOIN workspaces w ON w.id = c.workspace_id
WHERE c.id = $2
ON CONFLICT (key) DO NOTHING;

-- name: notify_of_organization
-- Tells those who look after an organization's templates something, the first time for this key.
-- $1 key, $2 organization, $3 kind, $4 message, $5 facts, $6 now
INSERT INTO notifications (key, organization_id, kind, message, facts, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (key) DO NOTHING;

-- name: list_untaken_jobs
-- Sorts of jobs that have waited for long while no provisioner that could take them was there: each with how many and since when.
-- $1 waiting since before, $2 provisioners seen after, $3 how many sorts at most
SELECT j.organization_id, j.provisioner_type, j.tags, count(*)::int AS jobs, min(j.pending_since) AS since
FROM jobs j
WHERE j.status = 'pending' AND j.pending_since < $1
  AND NOT EXISTS (
      SELECT FROM workers w JOIN service_keys k ON k.id = w.service_key_id AND k.revoked_at IS NULL
      WHERE w.last_seen_at >= $2 AND j.provisioner_type = ANY (w.provisioner_types) AND j.tags <@ w.tags
        AND (k.organization_id IS NULL OR k.organization_id = j.organization_id))
GROUP BY j.organization_id, j.provisioner_type, j.tags
ORDER BY since LIMIT $3;

-- name: take_events
-- Holds events whose deliveries are not planned yet, oldest first.
-- $1 how many at most
SELECT id, kind, organization_id, recipient_id FROM notifications WHERE fanned_out_at IS NULL
ORDER BY created_at, id LIMIT $1 FOR UPDATE SKIP LOCKED;

-- name: list_people
-- Who might be told: whoever has a role on the site or in these organizations, and those named.
-- $1 organizations, $2 users
SELECT u.id, coalesce(nullif(u.notification_email, ''), u.email) AS email, u.roles, u.disabled_at IS NOT NULL AS is_disabled,
       coalesce((SELECT jsonb_object_agg(m.organization_id, to_jsonb(m.roles)) FROM organization_members m
                 WHERE m.user_id = u.id AND m.roles <> '{}' AND m.organization_id = ANY ($1::uuid[])), '{}') AS organization_roles,
       coalesce((SELECT jsonb_agg(jsonb_build_array(x.kind, x.channel, x.is_on)) FROM notification_preferences x
                 WHERE x.user_id = u.id), '[]') AS preferences
FROM users u
WHERE NOT u.is_system
  AND (u.roles <> '{}' OR u.id = ANY ($2::uuid[])
       OR EXISTS (SELECT FROM organization_members m
                  WHERE m.user_id = u.id AND m.roles <> '{}' AND m.organization_id = ANY ($1::uuid[])))
ORDER BY u.username;

-- name: insert_deliveries
-- Plans deliveries, as of when it happened. What needs no sending is there at once.
-- $1 ids, $2 events, $3 channels, $4 targets, $5 recipients, $6 now
INSERT INTO notification_deliveries (id, notification_id, channel, target, recipient_id, status, due_at, created_at, finished_at)
SELECT d.id, n.id, d.channel, d.target, d.recipient, CASE WHEN d.channel = 'inbox' THEN 'sent' ELSE 'pending' END, $6, n.created_at,
       CASE WHEN d.channel = 'inbox' THEN $6::timestamptz END
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[]) AS d (id, event, channel, target, recipient)
JOIN notifications n ON n.id = d.event;

-- name: finish_events
-- Notes that the deliveries of these events are planned.
-- $1 events, $2 now
UPDATE notifications SET fanned_out_at = $2 WHERE id = ANY ($1::uuid[]);

-- name: bury_lapsed
-- Ends deliveries whose last attempt nobody reported on.
-- $1 channel, $2 target, $3 attempts at most, $4 now
UPDATE notification_deliveries SET status = 'dead', finished_at = $4, error = 'nobody reported on the last attempt: ' || error
WHERE status = 'pending' AND channel = $1 AND target = $2 AND due_at <= $4 AND attempts >= $3;

-- name: bury_strays
-- Ends deliveries that have been due for long and are for a sink that is set up no more.
-- $1 channels and $2 targets of the sinks there are, $3 due before, $4 error, $5 now
UPDATE notification_deliveries d SET status = 'dead', finished_at = $5, error = $4
WHERE status = 'pending' AND due_at < $3
  AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS s (channel, target) WHERE s.channel = d.channel AND s.target = d.target)
RETURNING channel;

-- name: lease_deliveries
-- Takes deliveries of one sink that are due, oldest first, and opens an attempt of each. Whoever took them has them alone until the
-- lease ends; the attempt is the fence.
-- $1 channel, $2 target, $3 how many at most, $4 now, $5 end of the lease, $6 attempts at most
WITH due AS (
    SELECT id FROM notification_deliveries
    WHERE status = 'pending' AND channel = $1 AND target = $2 AND due_at <= $4 AND attempts < $6
    ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE notification_deliveries d SET attempts = d.attempts + 1, due_at = $5 FROM due WHERE d.id = due.id
    RETURNING d.id, d.attempts, d.notification_id, d.recipient_id
)
SELECT taken.id, taken.attempts, n.kind, n.message, n.facts, n.created_at, o.name AS organization,
       coalesce(u.username, '') AS username,
       CASE WHEN u.disabled_at IS NULL THEN coalesce(nullif(u.notification_email, ''), u.email, '') ELSE '' END AS email
FROM taken
JOIN notifications n ON n.id = taken.notification_id
JOIN organizations o ON o.id = n.organization_id
LEFT JOIN users u ON u.id = taken.recipient_id
ORDER BY n.created_at, taken.id;

-- name: conclude_delivery
-- Ends a delivery, unless a later attempt has been opened. No row then.
-- $1 delivery, $2 attempt, $3 status, $4 error, $5 now
UPDATE notification_deliveries SET status = $3, error = $4, finished_at = $5
WHERE id = $1 AND attempts = $2 AND status = 'pending' RETURNING id;

-- name: drop_delivery
-- Removes a delivery that there is nobody for, unless a later attempt has been opened. No row then.
-- $1 delivery, $2 attempt
DELETE FROM notification_deliveries WHERE id = $1 AND attempts = $2 AND status = 'pending' RETURNING id;

-- name: postpone_delivery
-- Lets a delivery be tried again later, unless a later attempt has been opened. No row then.
-- $1 delivery, $2 attempt, $3 due again, $4 error
UPDATE notification_deliveries SET due_at = $3, error = $4 WHERE id = $1 AND attempts = $2 AND status = 'pending' RETURNING id;

-- name: count_deliveries
-- How many deliveries of each channel wait or are dead.
SELECT channel, status, count(*)::int AS deliveries FROM notification_deliveries WHERE status <> 'sent' GROUP BY channel, status;
