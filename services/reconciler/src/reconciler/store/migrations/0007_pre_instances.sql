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
