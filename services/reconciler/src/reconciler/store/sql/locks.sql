-- name: try_leader_lock
-- Tries to be the replica that runs a loop, for the length of a transaction.
-- $1 key
SELECT pg_try_advisory_xact_lock($1);

-- name: answer
-- Whether the database answers at all.
SELECT 1;
