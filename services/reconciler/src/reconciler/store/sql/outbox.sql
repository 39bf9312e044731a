-- name: take_outbox
-- Takes what is to be said, oldest first; gone when the transaction commits, there again if it does not.
-- $1 how many at most
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, subject, payload;

-- name: delete_outbox
-- Forgets what has been said.
-- $1 rows
DELETE FROM outbox WHERE id = ANY ($1::bigint[]);
