-- Which gateway heard an agent last: another one that lost it does not make it gone.
ALTER TABLE agents ADD COLUMN seen_by uuid;

-- How far an agent's log has come in each of its runs: lines that are sent again are not stored again.
CREATE TABLE agent_log_sessions (
    agent_id          uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    session_id        uuid NOT NULL,
    last_sequence     bigint NOT NULL,
    previous_sequence bigint NOT NULL,
    PRIMARY KEY (agent_id, session_id)
);
