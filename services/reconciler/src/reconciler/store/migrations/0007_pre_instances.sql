-- What runs, for `warmpool doctor`. Older replicas know nothing of it.
CREATE TABLE instances (
    id                 uuid NOT NULL,
    service_key_id     uuid REFERENCES service_keys, -- null: the control plane's own
    service            text NOT NULL,
    name               text NOT NULL,
    version            text NOT NULL,
    clock_skew_seconds double precision NOT NULL,
    problems           text[] NOT NULL,
    programs           jsonb NOT NULL,
    last_seen_at       timestamptz NOT NULL,
    CONSTRAINT instance_is_told_of_by_its_own_key UNIQUE NULLS NOT DISTINCT (service_key_id, id)
);
