-- name: delete_job_logs
-- Deletes some of the lines of builds' logs that are older.
-- $1 older than, $2 at most
DELETE FROM job_logs WHERE ctid = ANY (ARRAY(SELECT ctid FROM job_logs WHERE written_at < $1 LIMIT $2));

-- name: delete_agent_logs
-- Deletes some of the lines of agents' scripts that are older.
-- $1 older than, $2 at most
DELETE FROM agent_logs WHERE ctid = ANY (ARRAY(SELECT ctid FROM agent_logs WHERE written_at < $1 LIMIT $2));

-- name: delete_audit_entries
-- Deletes some of the entries of the audit log that are older.
-- $1 older than, $2 at most
DELETE FROM audit_log WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit_log WHERE happened_at < $1 LIMIT $2));

-- name: delete_deliveries
-- Deletes some of the notifications that were sent, were given up or were read before. What nobody has read stays, and so do the
-- events: their keys say what was told of.
-- $1 older than, $2 at most
DELETE FROM notification_deliveries WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM notification_deliveries
    WHERE CASE channel WHEN 'inbox' THEN read_at ELSE finished_at END < $1 LIMIT $2));
