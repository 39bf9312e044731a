-- name: insert_token
-- Lets a user in with a token.
-- $1 id, $2 user, $3 name, $4 hash, $5 now, $6 ends at
INSERT INTO api_tokens (id, user_id, name, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6);

-- name: list_tokens
-- Reads tokens without their secrets, newest first.
-- $1 user or null, $2 token or null
SELECT k.id, k.user_id, u.username, k.name, k.created_at, k.expires_at, k.revoked_at
FROM api_tokens k JOIN users u ON u.id = k.user_id
WHERE ($1::uuid IS NULL OR k.user_id = $1) AND ($2::uuid IS NULL OR k.id = $2)
ORDER BY k.created_at DESC, k.id DESC;

-- name: revoke_token
-- Ends a token. No row: it was ended before.
-- $1 token, $2 now
UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id;

-- name: insert_key
-- Lets a service in with a key.
-- $1 id, $2 kind, $3 name, $4 hash, $5 organization or null, $6 tags, $7 now
INSERT INTO service_keys (id, kind, name, key_hash, organization_id, tags, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: list_keys
-- Reads keys without their secrets, newest first.
-- $1 key or null
SELECT k.id, k.kind, k.name, k.organization_id, coalesce(o.name, '') AS organization_name, k.tags, k.created_at, k.revoked_at
FROM service_keys k LEFT JOIN organizations o ON o.id = k.organization_id
WHERE $1::uuid IS NULL OR k.id = $1
ORDER BY k.created_at DESC, k.id DESC;

-- name: revoke_key
-- Ends a key. No row: it was ended before.
-- $1 key, $2 now
UPDATE service_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id;
