-- no-transaction
-- What is old is found without reading the rest. These cost next to nothing where rows only ever come at the end.
DROP INDEX CONCURRENTLY IF EXISTS job_logs_by_age;
CREATE INDEX CONCURRENTLY IF NOT EXISTS job_logs_by_age ON job_logs USING brin (written_at);
DROP INDEX CONCURRENTLY IF EXISTS agent_logs_by_age;
CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_logs_by_age ON agent_logs USING brin (written_at);
