-- The certificates a process was given, for `warmpool doctor`. Older replicas write none and read none.
ALTER TABLE instances ADD COLUMN certificates jsonb NOT NULL DEFAULT '[]';
