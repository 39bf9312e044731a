-- name: find_api_token
-- Finds whose token it is, with everything that decides what they may do.
-- $1 hash
SELECT u.id, u.username, u.roles, u.is_system, u.disabled_at, k.expires_at, k.revoked_at,
       coalesce((SELECT jsonb_object_agg(m.organization_id, m.roles) FROM organization_members m WHERE m.user_id = u.id), '{}')
           AS organization_roles
FROM api_tokens k
JOIN users u ON u.id = k.user_id
WHERE k.token_hash = $1;

-- name: find_service_key
-- Finds whose key it is.
-- $1 hash
SELECT id, kind, organization_id, tags, revoked_at FROM service_keys WHERE key_hash = $1;

-- name: find_organization
-- Finds an organization by name.
-- $1 name
SELECT id, name FROM organizations WHERE name = $1;

-- name: ensure_user
-- Makes a user if the name is free, and says who has it.
-- $1 id, $2 name, $3 full name, $4 roles, $5 now
INSERT INTO users (id, username, full_name, roles, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (username) DO UPDATE SET username = excluded.username
RETURNING id;

-- name: ensure_member
-- Makes a user a member of an organization.
-- $1 organization, $2 user, $3 now
INSERT INTO organization_members (organization_id, user_id, created_at) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: ensure_api_token
-- Lets a token in, unless it was known before: a revoked one stays revoked. Says whose it is.
-- $1 id, $2 user, $3 name, $4 hash, $5 now
INSERT INTO api_tokens (id, user_id, name, token_hash, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (token_hash) DO UPDATE SET token_hash = excluded.token_hash
RETURNING user_id;

-- name: ensure_service_key
-- Lets a key in, unless it was known before: a revoked one stays revoked. Says what it is for.
-- $1 id, $2 kind, $3 name, $4 hash, $5 now
INSERT INTO service_keys (id, kind, name, key_hash, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key_hash) DO UPDATE SET key_hash = excluded.key_hash
RETURNING kind;
