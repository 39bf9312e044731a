-- no-transaction
-- A build goes before a dry run of the same rank. `jobs_waiting` stays, for code of the release before takes jobs in its order.
DROP INDEX CONCURRENTLY IF EXISTS jobs_waiting_by_kind;
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_waiting_by_kind ON jobs (is_system, (kind = 'template_version_dry_run'), created_at, id)
    WHERE status = 'pending';
