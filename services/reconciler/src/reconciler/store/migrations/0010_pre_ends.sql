-- no-transaction
-- How long jobs took lately, and which members of pools were lost, is found without reading them all.
DROP INDEX CONCURRENTLY IF EXISTS jobs_by_end;
CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_by_end ON jobs (provisioner_type, finished_at DESC)
    WHERE finished_at IS NOT NULL AND started_at IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS builds_of_lost;
CREATE INDEX CONCURRENTLY IF NOT EXISTS builds_of_lost ON workspace_builds (created_at) WHERE reason = 'lost';
