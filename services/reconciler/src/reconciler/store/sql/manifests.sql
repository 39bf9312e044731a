-- name: seal_from_now_on
-- Says that nothing is left of the code that reads manifests in clear, so that none is stored so any more.
-- $1 now
INSERT INTO settings (name, value, updated_at) VALUES ('manifests_are_sealed', 'true', $1) ON CONFLICT DO NOTHING;

-- name: list_plain_manifests
-- Reads manifests that lie in clear and need not, some at a time: those for the release before, and those stored while there was no key.
-- $1 how many at most, $2 how what is encrypted begins, or null if there is no key
SELECT id, manifest, manifest_sealed FROM agents
WHERE (manifest <> '{}' OR substring(manifest_sealed FROM 1 FOR octet_length($2::bytea)) <> $2)
  AND EXISTS (SELECT FROM settings WHERE name = 'manifests_are_sealed')
ORDER BY id LIMIT $1 FOR UPDATE;

-- name: seal_manifest
-- Keeps a manifest encrypted and no other way.
-- $1 agent, $2 the manifest, encrypted
UPDATE agents SET manifest = '{}', manifest_sealed = $2 WHERE id = $1;

-- name: list_manifest_headers
-- The first bytes of every living agent's manifest: they say which key it needs.
SELECT substring(manifest_sealed FROM 1 FOR 16) AS header FROM agents WHERE deleted_at IS NULL AND manifest_sealed IS NOT NULL;
