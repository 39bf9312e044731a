-- name: get_postgres
-- Postgres' own version, clock and settings that matter, and the newest migration applied.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_number,
       clock_timestamp() AS now,
       (SELECT name FROM schema_migrations ORDER BY number DESC LIMIT 1) AS schema_version,
       current_setting('fsync')::bool AS fsync, current_setting('full_page_writes')::bool AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int AS connections_max,
       extract(epoch FROM current_setting('statement_timeout')::interval)::float8 AS statement_seconds,
       extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval)::float8 AS idle_seconds,
       pg_is_in_recovery() AS is_standby,
       inet_server_addr() IS NULL OR inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1' AS is_local,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted;

-- name: get_manifests
-- How agents' manifests are stored: whether new ones are encrypted, and how many lie in clear.
-- $1 how what is encrypted begins
SELECT EXISTS (SELECT FROM settings WHERE name = 'manifests_are_sealed') AS are_sealed,
       (SELECT count(*) FROM agents WHERE deleted_at IS NULL
           AND (manifest <> '{}' OR substring(manifest_sealed FROM 1 FOR octet_length($1::bytea)) <> $1)) AS plain;

-- name: list_workers
-- Lists the provisioners seen lately.
-- $1 seen after
SELECT id, name, version, provisioner_types, tags, last_seen_at FROM workers WHERE last_seen_at > $1 ORDER BY name, id;

-- name: list_instances
-- Lists the processes seen lately.
-- $1 seen after, $2 how many at most
SELECT id, service, name, version, clock_skew_seconds, problems, programs, certificates, last_seen_at
FROM instances WHERE last_seen_at > $1 ORDER BY service, name, id LIMIT $2;

-- name: upsert_instance
-- Notes what a process says of itself, beside what those with other keys say of theirs. Tells whether it is a new one.
-- $1 id, $2 service, $3 name, $4 version, $5 clock skew, $6 problems, $7 programs, $8 now, $9 its key, or null for the control plane, $10 certificates
INSERT INTO instances (id, service, name, version, clock_skew_seconds, problems, programs, last_seen_at, service_key_id, certificates)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (service_key_id, id) DO UPDATE SET (name, version, clock_skew_seconds, problems, programs, last_seen_at, certificates)
    = (excluded.name, excluded.version, excluded.clock_skew_seconds, excluded.problems, excluded.programs, excluded.last_seen_at,
       excluded.certificates)
RETURNING xmax = 0;

-- name: trim_instances
-- Forgets the processes of a key that were silent for longest, if there are too many.
-- $1 key, $2 how many may stay
DELETE FROM instances WHERE service_key_id = $1 AND id IN
    (SELECT id FROM instances WHERE service_key_id = $1 ORDER BY last_seen_at DESC, id OFFSET $2);

-- name: delete_instances
-- Forgets processes that are long gone.
-- $1 seen before
DELETE FROM instances WHERE last_seen_at < $1;
