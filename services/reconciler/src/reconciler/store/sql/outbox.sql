-- name: insert_outbox
-- Promises to say something on the bus once this transaction is committed.
-- $1 subject, $2 payload, $3 now
INSERT INTO outbox (subject, payload, created_at) VALUES ($1, $2, $3);

-- name: take_outbox
-- Takes what is to be said, oldest first; gone when the transaction commits, there again if it does not.
-- $1 how many at most
DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, subject, payload;
