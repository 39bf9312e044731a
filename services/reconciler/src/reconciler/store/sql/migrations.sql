-- name: lock_migrations
-- Waits until no other replica migrates; the lock is this connection's until it is released.
-- $1 key
SELECT pg_advisory_lock($1);

-- name: unlock_migrations
-- Lets the next replica look.
-- $1 key
SELECT pg_advisory_unlock($1);

-- name: ensure_migrations_table
-- Makes the list of what has been applied.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: has_migrations_table
-- Tells whether anything was ever applied.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: list_applied_migrations
-- Reads which migrations have been applied.
SELECT number FROM schema_migrations ORDER BY number;

-- name: insert_migration
-- Notes a migration in the transaction that applies it.
-- $1 number, $2 name
INSERT INTO schema_migrations (number, name) VALUES ($1, $2);
