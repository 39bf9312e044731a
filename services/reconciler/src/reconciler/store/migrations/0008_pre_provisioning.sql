-- What a dry run found is kept with its job, so that a person can ask for one; what agents run may be kept encrypted.

ALTER TABLE jobs ADD COLUMN result jsonb NOT NULL DEFAULT '{}';

-- Code of the release before reads `manifest` alone, so it stays what is written until nothing of that code is left: see ADR 0014.
ALTER TABLE agents ADD COLUMN manifest_sealed bytea;

-- A database that nobody has used yet has no such code.
INSERT INTO settings (name, value, updated_at)
SELECT 'manifests_are_sealed', 'true', now() WHERE NOT EXISTS (SELECT FROM users WHERE NOT is_system);
