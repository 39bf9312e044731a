-- name: get_postgres
-- Postgres' own version and clock, and the newest migration applied.
SELECT current_setting('server_version') AS version, clock_timestamp() AS now,
       (SELECT name FROM schema_migrations ORDER BY number DESC LIMIT 1) AS schema_version;

-- name: list_workers
-- Lists the provisioners seen lately.
-- $1 seen after
SELECT id, name, version, provisioner_types, tags, last_seen_at FROM workers WHERE last_seen_at > $1 ORDER BY name, id;
