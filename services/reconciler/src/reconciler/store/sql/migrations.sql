-- name: try_lock_migrations
-- Takes the lock that one replica at a time migrates under, if it is free; it is this connection's until it is released.
-- $1 key
SELECT pg_try_advisory_lock($1);

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

-- name: limit_waiting
-- Lets no statement of this transaction wait longer for a lock: others wait behind it.
-- $1 how long
SELECT set_config('lock_timeout', $1, true);

-- name: limit_waiting_alone
-- Lets no statement of this session wait longer for a lock, and each run as long as it must.
-- $1 how long
SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', '0', false);

-- name: unlimit_waiting
-- Gives the session the limits back that it began with.
SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout');

-- name: insert_migration
-- Notes a migration, in the transaction that applies it if it has one.
-- $1 number, $2 name
INSERT INTO schema_migrations (number, name) VALUES ($1, $2);
