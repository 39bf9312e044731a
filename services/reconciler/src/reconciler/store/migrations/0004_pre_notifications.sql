-- Notifications are sent: an event is told to people and to the installation's sinks, each by a delivery of its own.

ALTER TABLE notifications
    ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT notification_id_is_unique UNIQUE,
    ADD COLUMN recipient_id uuid REFERENCES users,
    ADD COLUMN facts jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN fanned_out_at timestamptz;

-- What was written before anybody sent it is old news.
UPDATE notifications SET fanned_out_at = created_at;
CREATE INDEX notifications_to_fan_out ON notifications (created_at, id) WHERE fanned_out_at IS NULL;

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

-- Where somebody's notifications go, which they set themselves; '' is their `email`, which is the owners' to set: templates see it.
ALTER TABLE users ADD COLUMN notification_email text NOT NULL DEFAULT '';

-- Where somebody differs from the defaults.
CREATE TABLE notification_preferences (
    user_id uuid NOT NULL REFERENCES users,
    kind    text NOT NULL,
    channel text NOT NULL CONSTRAINT preference_channel CHECK (channel IN ('inbox', 'email')),
    is_on   boolean NOT NULL,
    PRIMARY KEY (user_id, kind, channel)
);

-- How many workspaces each of its people may have in an organization; null is no limit.
ALTER TABLE organizations ADD COLUMN workspaces_per_user_max integer
    CONSTRAINT quota_is_not_negative CHECK (workspaces_per_user_max >= 0);
