-- People can be listed, barred and audited: what those questions read, and what no mistake may do to the system user.

ALTER TABLE users ADD CONSTRAINT system_user_is_not_disabled CHECK (NOT is_system OR disabled_at IS NULL);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at DESC);
DROP INDEX audit_log_newest_first;
CREATE INDEX audit_log_newest_first ON audit_log (happened_at DESC, id DESC);
