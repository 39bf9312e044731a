-- What runs, for `warmpool doctor`. Older replicas know nothing of it.
CREATE TABLE instances (
    id                 uuid PRIMARY KEY,
    service            text NOT NULL,
    name               text NOT NULL,
    version            text NOT NULL,
    clock_skew_seconds double precision NOT NULL,
    problems           text[] NOT NULL,
    programs           jsonb NOT NULL,
    last_seen_at       timestamptz NOT NULL
);

-- What is old is found without reading the rest. These cost next to nothing where rows only ever come at the end.
CREATE INDEX job_logs_by_age ON job_logs USING brin (written_at);
CREATE INDEX agent_logs_by_age ON agent_logs USING brin (written_at);
