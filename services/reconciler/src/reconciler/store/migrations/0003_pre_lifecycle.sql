-- Workspaces of people start, stop, fall dormant and go by themselves, as their template and their owner say; prebuilds never do.

ALTER TABLE templates
    ADD COLUMN default_ttl_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT default_ttl_is_not_negative CHECK (default_ttl_seconds >= 0),
    ADD COLUMN activity_bump_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT activity_bump_is_not_negative CHECK (activity_bump_seconds >= 0),
    ADD COLUMN max_ttl_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT max_ttl_is_not_negative CHECK (max_ttl_seconds >= 0),
    ADD COLUMN dormant_after_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT dormant_after_is_not_negative CHECK (dormant_after_seconds >= 0),
    ADD COLUMN delete_dormant_after_seconds bigint NOT NULL DEFAULT 0
        CONSTRAINT delete_dormant_after_is_not_negative CHECK (delete_dormant_after_seconds >= 0),
    ADD COLUMN failure_ttl_seconds bigint NOT NULL DEFAULT 0 CONSTRAINT failure_ttl_is_not_negative CHECK (failure_ttl_seconds >= 0),
    ADD COLUMN is_autostart_allowed boolean NOT NULL DEFAULT true;

ALTER TABLE workspaces
    ADD COLUMN autostart_timezone text,
    ADD COLUMN next_start_at timestamptz,
    ADD CONSTRAINT prebuild_has_no_lifecycle CHECK (
        owner_id <> '00000000-0000-4000-8000-0000000000ff'
        OR (autostart_schedule IS NULL AND autostart_timezone IS NULL AND next_start_at IS NULL AND ttl_seconds IS NULL
            AND deadline_at IS NULL AND max_deadline_at IS NULL AND dormant_at IS NULL AND deleting_at IS NULL AND last_used_at IS NULL));

-- Whatever people have counts as used when it was last built, so that a first policy finds nobody idle since the beginning of time.
UPDATE workspaces SET last_used_at = latest_build_created_at
WHERE last_used_at IS NULL AND owner_id <> '00000000-0000-4000-8000-0000000000ff' AND deleted_at IS NULL;
