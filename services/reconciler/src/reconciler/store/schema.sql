-- The truth of Warmpool, as it is after every migration. Times are timestamptz; ids are made by the caller; secrets are hashes.
-- Rules that must always hold are named constraints, so that an error says which promise would have been broken.

-- Who owns what ---------------------------------------------------------------------------------------------------------------

CREATE TABLE organizations (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CONSTRAINT organization_name_is_a_label CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 32),
    is_default  boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    workspaces_per_user_max integer CONSTRAINT quota_is_not_negative CHECK (workspaces_per_user_max >= 0) -- null is no limit
);
CREATE UNIQUE INDEX one_default_organization ON organizations (is_default) WHERE is_default;

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    username    text NOT NULL UNIQUE CONSTRAINT username_is_a_label CHECK (username ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(username) <= 32),
    full_name   text NOT NULL DEFAULT '',
    email       text NOT NULL DEFAULT '',
    roles       text[] NOT NULL DEFAULT '{}',
    is_system   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    disabled_at timestamptz,
    notification_email text NOT NULL DEFAULT '', -- where notifications go, which people set themselves; '' is `email`, which templates see
    CONSTRAINT system_user_has_no_roles CHECK (NOT is_system OR roles = '{}'),
    CONSTRAINT system_user_is_not_disabled CHECK (NOT is_system OR disabled_at IS NULL)
);

CREATE TABLE organization_members (
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id         uuid NOT NULL REFERENCES users,
    roles           text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX organization_members_by_user ON organization_members (user_id);

CREATE TABLE api_tokens (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users,
    name       text NOT NULL,
    token_hash bytea NOT NULL UNIQUE CONSTRAINT api_token_is_hashed CHECK (length(token_hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at DESC);

-- What a service holds instead of a user's token: a provisioner's key may be bound to an organization and carries its tags.
CREATE TABLE service_keys (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL CONSTRAINT service_key_kind CHECK (kind IN ('provisioner', 'gateway')),
    name            text NOT NULL,
    key_hash        bytea NOT NULL UNIQUE CONSTRAINT service_key_is_hashed CHECK (length(key_hash) = 32),
    organization_id uuid REFERENCES organizations,
    tags            jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz
);

-- Templates -------------------------------------------------------------------------------------------------------------------

CREATE TABLE archives (
    sha256     bytea PRIMARY KEY CONSTRAINT archive_is_named_by_its_hash CHECK (length(sha256) = 32),
    content    bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE templates (
    id                uuid PRIMARY KEY,
    organization_id   uuid NOT NULL REFERENCES organizations,
    name              text NOT NULL CONSTRAINT template_name_is_a_label CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 32),
    provisioner_type  text NOT NULL,
    provisioner_tags  jsonb NOT NULL DEFAULT '{}',
    active_version_id uuid,
    created_at        timestamptz NOT NULL,
    deleted_at        timestamptz,
    default_ttl_seconds          bigint NOT NULL DEFAULT 0 CONSTRAINT default_ttl_is_not_negative CHECK (default_ttl_seconds >= 0),
    activity_bump_seconds        bigint NOT NULL DEFAULT 0 CONSTRAINT activity_bump_is_not_negative CHECK (activity_bump_seconds >= 0),
    max_ttl_seconds              bigint NOT NULL DEFAULT 0 CONSTRAINT max_ttl_is_not_negative CHECK (max_ttl_seconds >= 0),
    dormant_after_seconds        bigint NOT NULL DEFAULT 0 CONSTRAINT dormant_after_is_not_negative CHECK (dormant_after_seconds >= 0),
    delete_dormant_after_seconds bigint NOT NULL DEFAULT 0
                                 CONSTRAINT delete_dormant_after_is_not_negative CHECK (delete_dormant_after_seconds >= 0),
    failure_ttl_seconds          bigint NOT NULL DEFAULT 0 CONSTRAINT failure_ttl_is_not_negative CHECK (failure_ttl_seconds >= 0),
    is_autostart_allowed         boolean NOT NULL DEFAULT true
);
CREATE UNIQUE INDEX template_name_is_unique ON templates (organization_id, name) WHERE deleted_at IS NULL;

CREATE TABLE template_versions (
    id                 uuid PRIMARY KEY,
    template_id        uuid NOT NULL REFERENCES templates,
    name               text NOT NULL,
    job_id             uuid NOT NULL,
    archive_sha256     bytea NOT NULL REFERENCES archives,
    promote_on_success boolean NOT NULL,
    message            text NOT NULL DEFAULT '',
    parameters         jsonb NOT NULL DEFAULT '[]',
    agent_names        text[] NOT NULL DEFAULT '{}',
    created_by         uuid NOT NULL REFERENCES users,
    created_at         timestamptz NOT NULL,
    imported_at        timestamptz,
    CONSTRAINT version_name_is_unique UNIQUE (template_id, name),
    CONSTRAINT version_of_template UNIQUE (template_id, id)
);
ALTER TABLE templates ADD CONSTRAINT active_version_is_its_own
    FOREIGN KEY (id, active_version_id) REFERENCES template_versions (template_id, id);

-- A named parameter set. `instances` is null for a preset that keeps no pool.
CREATE TABLE presets (
    id                  uuid PRIMARY KEY,
    template_version_id uuid NOT NULL REFERENCES template_versions,
    name                text NOT NULL,
    is_default          boolean NOT NULL DEFAULT false,
    description         text NOT NULL DEFAULT '',
    icon                text NOT NULL DEFAULT '',
    parameters          jsonb NOT NULL DEFAULT '{}',
    instances           integer CONSTRAINT pool_size_is_not_negative CHECK (instances >= 0),
    ttl_seconds         bigint NOT NULL DEFAULT 0 CONSTRAINT pool_ttl_is_0_or_an_hour_to_a_year CHECK (ttl_seconds = 0 OR ttl_seconds BETWEEN 3600 AND 31536000),
    timezone            text NOT NULL DEFAULT '',
    schedules           jsonb NOT NULL DEFAULT '[]',
    health              text NOT NULL DEFAULT 'healthy' CONSTRAINT pool_health CHECK (health IN ('healthy', 'hard_limited', 'validation_failed')),
    resumed_at          timestamptz,
    rehearsed_at        timestamptz, -- when a claim was first planned upon a prebuild of it
    stop_reason         text NOT NULL DEFAULT '', -- why health is not healthy
    members_made        bigint NOT NULL DEFAULT 0, -- ever, by its pool
    CONSTRAINT preset_name_is_unique UNIQUE (template_version_id, name)
);
CREATE INDEX presets_that_stopped ON presets (id) WHERE health = 'hard_limited';

-- The operator's switch, by name so that it outlives a promotion. An empty preset name means all of the template.
CREATE TABLE pool_pauses (
    template_id uuid NOT NULL REFERENCES templates,
    preset_name text NOT NULL,
    paused_by   uuid NOT NULL REFERENCES users,
    paused_at   timestamptz NOT NULL,
    PRIMARY KEY (template_id, preset_name)
);

-- The job queue ---------------------------------------------------------------------------------------------------------------

-- `attempt` is the fence: who names an older one is refused. `is_system` jobs wait behind everybody's.
CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    organization_id     uuid NOT NULL REFERENCES organizations,
    kind                text NOT NULL CONSTRAINT job_kind CHECK (kind IN ('template_version_import', 'template_version_dry_run', 'workspace_build')),
    provisioner_type    text NOT NULL,
    tags                jsonb NOT NULL DEFAULT '{}',
    template_version_id uuid NOT NULL REFERENCES template_versions,
    initiator_id        uuid NOT NULL REFERENCES users,
    is_system           boolean NOT NULL,
    parameters          jsonb NOT NULL DEFAULT '{}',
    status              text NOT NULL DEFAULT 'pending'
                        CONSTRAINT job_status CHECK (status IN ('pending', 'running', 'canceling', 'succeeded', 'failed', 'canceled')),
    attempt             integer NOT NULL DEFAULT 0,
    worker_id           uuid,
    created_at          timestamptz NOT NULL,
    pending_since       timestamptz NOT NULL,
    started_at          timestamptz,
    heartbeat_at        timestamptz,
    cancel_requested_at timestamptz,
    finished_at         timestamptz,
    error               text NOT NULL DEFAULT '',
    error_reason        text NOT NULL DEFAULT '',
    traceparent         text NOT NULL DEFAULT '',
    log_bytes           bigint NOT NULL DEFAULT 0,
    rehearsed_build_id  uuid, -- of a dry run that plans a claim upon what this build made
    result              jsonb NOT NULL DEFAULT '{}', -- what a dry run found
    CONSTRAINT job_is_finished_if_and_only_if_final CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))),
    CONSTRAINT job_has_a_worker_while_it_runs CHECK (status NOT IN ('running', 'canceling') OR (worker_id IS NOT NULL AND started_at IS NOT NULL))
);
ALTER TABLE template_versions ADD CONSTRAINT version_has_an_import_job FOREIGN KEY (job_id) REFERENCES jobs DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX jobs_waiting ON jobs (is_system, created_at, id) WHERE status = 'pending'; -- for the release before
CREATE INDEX jobs_waiting_by_kind ON jobs (is_system, (kind = 'template_version_dry_run'), created_at, id) WHERE status = 'pending';
CREATE INDEX jobs_in_hand ON jobs (heartbeat_at) WHERE status IN ('running', 'canceling');
CREATE INDEX jobs_by_end ON jobs (provisioner_type, finished_at DESC) WHERE finished_at IS NOT NULL AND started_at IS NOT NULL;
CREATE INDEX jobs_the_pool_lost ON jobs (template_version_id) WHERE is_system AND status = 'failed';

CREATE TABLE job_logs (
    job_id     uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    position   bigint GENERATED ALWAYS AS IDENTITY,
    attempt    integer NOT NULL,
    sequence   bigint NOT NULL,
    written_at timestamptz NOT NULL,
    level      text NOT NULL CONSTRAINT job_log_level CHECK (level IN ('debug', 'info', 'warn', 'error')),
    stage      text NOT NULL,
    text       text NOT NULL,
    PRIMARY KEY (job_id, position),
    CONSTRAINT job_log_line_is_stored_once UNIQUE (job_id, attempt, sequence)
);
CREATE INDEX job_logs_by_age ON job_logs USING brin (written_at);

-- Provisioners seen lately.
CREATE TABLE workers (
    id                uuid PRIMARY KEY,
    name              text NOT NULL,
    version           text NOT NULL,
    provisioner_types text[] NOT NULL,
    tags              jsonb NOT NULL,
    service_key_id    uuid NOT NULL REFERENCES service_keys,
    last_seen_at      timestamptz NOT NULL
);

-- Processes that told of themselves lately, for `warmpool doctor`. `clock_skew_seconds`: how far their clock was ahead.
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
    certificates       jsonb NOT NULL DEFAULT '[]', -- what they were given; older releases tell of none
    CONSTRAINT instance_is_told_of_by_its_own_key UNIQUE NULLS NOT DISTINCT (service_key_id, id)
);

-- Workspaces ------------------------------------------------------------------------------------------------------------------

-- The latest build is kept on the row: the pool and every listing read it, and a lock on this row guards it.
-- `born_in_pool`: the first build was the system user's. It never changes; owner_id does, once, at the claim.
CREATE TABLE workspaces (
    id                         uuid PRIMARY KEY,
    organization_id            uuid NOT NULL REFERENCES organizations,
    owner_id                   uuid NOT NULL REFERENCES users,
    name                       text NOT NULL CONSTRAINT workspace_name_is_a_label CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 32),
    template_id                uuid NOT NULL REFERENCES templates,
    preset_id                  uuid REFERENCES presets,
    born_in_pool               boolean NOT NULL,
    request_id                 text CONSTRAINT request_id_is_short CHECK (length(request_id) BETWEEN 1 AND 64),
    pool_miss                  text NOT NULL DEFAULT '',
    created_at                 timestamptz NOT NULL,
    invalidated_at             timestamptz,
    deleted_at                 timestamptz,
    latest_build_id            uuid NOT NULL,
    latest_build_number        integer NOT NULL,
    latest_transition          text NOT NULL CONSTRAINT latest_transition CHECK (latest_transition IN ('start', 'stop', 'delete')),
    latest_job_id              uuid NOT NULL,
    latest_job_status          text NOT NULL,
    latest_template_version_id uuid NOT NULL REFERENCES template_versions,
    latest_build_created_at    timestamptz NOT NULL,
    latest_build_finished_at   timestamptz,
    autostart_schedule         text,
    ttl_seconds                bigint,
    deadline_at                timestamptz,
    max_deadline_at            timestamptz,
    dormant_at                 timestamptz,
    deleting_at                timestamptz,
    last_used_at               timestamptz,
    autostart_timezone         text,
    next_start_at              timestamptz,
    CONSTRAINT prebuild_has_no_lifecycle CHECK (
        owner_id <> '00000000-0000-4000-8000-0000000000ff'
        OR (autostart_schedule IS NULL AND autostart_timezone IS NULL AND next_start_at IS NULL AND ttl_seconds IS NULL
            AND deadline_at IS NULL AND max_deadline_at IS NULL AND dormant_at IS NULL AND deleting_at IS NULL AND last_used_at IS NULL))
);
CREATE UNIQUE INDEX workspace_name_is_unique ON workspaces (owner_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX request_is_served_once ON workspaces (owner_id, request_id);
CREATE INDEX workspaces_by_preset ON workspaces (preset_id, created_at) WHERE born_in_pool;
-- A claimed workspace leaves the range of the pool's user, so a claim never walks past those before it.
CREATE INDEX workspaces_of_the_pool ON workspaces (owner_id, preset_id, created_at, id) WHERE born_in_pool AND deleted_at IS NULL;
CREATE INDEX workspaces_by_owner ON workspaces (owner_id, created_at DESC, id);
CREATE INDEX workspaces_newest_first ON workspaces (created_at DESC, id);
CREATE INDEX workspaces_by_pool_miss ON workspaces (pool_miss) WHERE pool_miss <> '';
CREATE INDEX workspaces_by_template ON workspaces (template_id) WHERE deleted_at IS NULL;

CREATE TABLE workspace_builds (
    id                  uuid PRIMARY KEY,
    workspace_id        uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    number              integer NOT NULL CONSTRAINT build_number_is_positive CHECK (number > 0),
    transition          text NOT NULL CONSTRAINT build_transition CHECK (transition IN ('start', 'stop', 'delete')),
    stage               text NOT NULL CONSTRAINT build_stage CHECK (stage IN ('ordinary', 'create', 'claim')),
    job_id              uuid NOT NULL UNIQUE REFERENCES jobs DEFERRABLE INITIALLY DEFERRED,
    template_version_id uuid NOT NULL REFERENCES template_versions,
    initiator_id        uuid NOT NULL REFERENCES users,
    reason              text NOT NULL,
    parameters          jsonb NOT NULL DEFAULT '{}',
    resources           jsonb NOT NULL DEFAULT '[]',
    tfstate             bytea,
    created_at          timestamptz NOT NULL,
    finished_at         timestamptz,
    CONSTRAINT build_number_is_unique UNIQUE (workspace_id, number)
);
CREATE INDEX builds_of_never_ready ON workspace_builds (workspace_id) WHERE reason = 'never_ready';
CREATE INDEX builds_of_lost ON workspace_builds (created_at) WHERE reason = 'lost';
ALTER TABLE workspaces ADD CONSTRAINT latest_build_exists FOREIGN KEY (latest_build_id) REFERENCES workspace_builds DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE agents (
    id                   uuid PRIMARY KEY,
    workspace_id         uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    name                 text NOT NULL,
    token_hash           bytea NOT NULL UNIQUE CONSTRAINT agent_token_is_hashed CHECK (length(token_hash) = 32),
    lifecycle            text NOT NULL DEFAULT 'created'
                         CONSTRAINT agent_lifecycle CHECK (lifecycle IN ('created', 'starting', 'ready', 'start_error', 'start_timeout', 'shutting_down', 'off')),
    lifecycle_changed_at timestamptz,
    lifecycle_error      text NOT NULL DEFAULT '',
    first_ready_at       timestamptz,
    last_seen_at         timestamptz,
    disconnected_at      timestamptz,
    manifest             jsonb NOT NULL,
    log_bytes            bigint NOT NULL DEFAULT 0,
    created_at           timestamptz NOT NULL,
    deleted_at           timestamptz,
    manifest_sealed      bytea, -- the manifest, encrypted; `manifest` is empty then
    seen_by              uuid -- the gateway that heard it last; another one that lost it does not make it gone
);
CREATE INDEX agents_by_workspace ON agents (workspace_id) WHERE deleted_at IS NULL;

CREATE TABLE agent_logs (
    agent_id   uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    position   bigint GENERATED ALWAYS AS IDENTITY,
    written_at timestamptz NOT NULL,
    level      text NOT NULL,
    stage      text NOT NULL,
    text       text NOT NULL,
    PRIMARY KEY (agent_id, position)
);
CREATE INDEX agent_logs_by_age ON agent_logs USING brin (written_at);

-- How far an agent's log has come in each of its runs: lines that are sent again are not stored again.
CREATE TABLE agent_log_sessions (
    agent_id          uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    session_id        uuid NOT NULL,
    last_sequence     bigint NOT NULL,
    previous_sequence bigint NOT NULL, -- before the last lines: the statement that stores those tells new ones by it
    PRIMARY KEY (agent_id, session_id)
);

-- Claims ----------------------------------------------------------------------------------------------------------------------

-- A claim's id is its generation: agents acknowledge it. One workspace is claimed at most once, ever.
CREATE TABLE claims (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE CONSTRAINT prebuild_is_claimed_at_most_once UNIQUE,
    preset_id    uuid NOT NULL REFERENCES presets,
    claimant_id  uuid NOT NULL REFERENCES users,
    build_id     uuid NOT NULL REFERENCES workspace_builds DEFERRABLE INITIALLY DEFERRED,
    requested_at timestamptz NOT NULL,
    claimed_at   timestamptz NOT NULL,
    built_at     timestamptz,
    delivered_at timestamptz,
    applied_at   timestamptz,
    has_replacements boolean NOT NULL DEFAULT false,
    error        text NOT NULL DEFAULT ''
);
CREATE INDEX claims_by_preset ON claims (preset_id);
CREATE INDEX claims_under_way ON claims (claimed_at) WHERE applied_at IS NULL;
CREATE INDEX claims_by_end ON claims (applied_at) WHERE applied_at IS NOT NULL;

CREATE TABLE claim_deliveries (
    claim_id     uuid NOT NULL REFERENCES claims ON DELETE CASCADE,
    agent_id     uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    delivered_at timestamptz,
    applying_at  timestamptz,
    applied_at   timestamptz,
    failed_at    timestamptz,
    error        text NOT NULL DEFAULT '',
    PRIMARY KEY (claim_id, agent_id)
);

-- What must be said on the bus after a commit; the row goes when it has been said.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject    text NOT NULL,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL
);

-- The installation ------------------------------------------------------------------------------------------------------------

CREATE TABLE settings (
    name       text PRIMARY KEY,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE audit_log (
    id              uuid PRIMARY KEY,
    happened_at     timestamptz NOT NULL,
    actor_id        uuid REFERENCES users,
    action          text NOT NULL,
    target_kind     text NOT NULL,
    target_id       text NOT NULL,
    organization_id uuid,
    details         jsonb NOT NULL DEFAULT '{}',
    trace_id        text NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_newest_first ON audit_log (happened_at DESC, id DESC);

-- What happened that somebody should know: told once for each key, which names the day where it may happen again. Who is told is planned
-- after the deed that inserts it; `recipient_id` is the one it is for, null for those whose role it is.
CREATE TABLE notifications (
    key             text PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES organizations,
    kind            text NOT NULL,
    message         text NOT NULL,
    created_at      timestamptz NOT NULL,
    id              uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT notification_id_is_unique UNIQUE,
    recipient_id    uuid REFERENCES users,
    facts           jsonb NOT NULL DEFAULT '{}',
    fanned_out_at   timestamptz
);
CREATE INDEX notifications_to_fan_out ON notifications (created_at, id) WHERE fanned_out_at IS NULL;

-- One message to one person or sink; its id is the message's, however often it is tried. `due_at` of a pending one is when it may be
-- tried (again): taking it moves that past the attempt, so that an attempt nobody reports on is repeated.
CREATE TABLE notification_deliveries (
    id              uuid PRIMARY KEY,
    notification_id uuid NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    channel         text NOT NULL CONSTRAINT delivery_channel CHECK (channel IN ('inbox', 'email', 'webhook', 'apprise')),
    target          text NOT NULL DEFAULT '',
    recipient_id    uuid REFERENCES users,
    status          text NOT NULL CONSTRAINT delivery_status CHECK (status IN ('pending', 'sent', 'dead')),
    attempts        integer NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    read_at         timestamptz,
    error           text NOT NULL DEFAULT '',
    CONSTRAINT delivery_is_planned_once UNIQUE NULLS NOT DISTINCT (notification_id, channel, target, recipient_id),
    CONSTRAINT delivery_is_finished_if_and_only_if_final CHECK ((finished_at IS NOT NULL) = (status <> 'pending')),
    CONSTRAINT delivery_of_a_person_has_one CHECK ((recipient_id IS NOT NULL) = (channel IN ('inbox', 'email')))
);
CREATE INDEX deliveries_due ON notification_deliveries (channel, target, due_at) WHERE status = 'pending';
CREATE INDEX deliveries_dead ON notification_deliveries (finished_at DESC, id DESC) WHERE status = 'dead';
CREATE INDEX deliveries_newest_first ON notification_deliveries (created_at DESC, id DESC);
CREATE INDEX inbox_newest_first ON notification_deliveries (recipient_id, created_at DESC, id DESC) WHERE channel = 'inbox';

-- Where somebody differs from the defaults.
CREATE TABLE notification_preferences (
    user_id uuid NOT NULL REFERENCES users,
    kind    text NOT NULL,
    channel text NOT NULL CONSTRAINT preference_channel CHECK (channel IN ('inbox', 'email')),
    is_on   boolean NOT NULL,
    PRIMARY KEY (user_id, kind, channel)
);

-- The first rows --------------------------------------------------------------------------------------------------------------

INSERT INTO organizations (id, name, is_default, created_at)
VALUES ('00000000-0000-4000-8000-000000000001', 'default', true, now());
-- The system user owns prebuilds. It has no roles and no token, so it cannot log in.
INSERT INTO users (id, username, full_name, is_system, created_at)
VALUES ('00000000-0000-4000-8000-0000000000ff', 'prebuilds', 'Prebuilds', true, now());
INSERT INTO settings (name, value, updated_at) VALUES ('manifests_are_sealed', 'true', now());
INSERT INTO organization_members (organization_id, user_id, created_at)
VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000ff', now());
