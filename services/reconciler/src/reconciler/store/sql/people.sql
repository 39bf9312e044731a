-- name: insert_user
-- Adds a person. No row: the name is taken.
-- $1 id, $2 name, $3 full name, $4 address, $5 roles, $6 now
INSERT INTO users (id, username, full_name, email, roles, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (username) DO NOTHING
RETURNING id;

-- name: list_users
-- Reads users by name.
-- $1 also the system user, $2 only of this name or null
SELECT id, username, full_name, email, roles, is_system, created_at, disabled_at FROM users
WHERE ($1 OR NOT is_system) AND ($2::text IS NULL OR username = $2)
ORDER BY username;

-- name: lock_owners
-- Holds everybody who could still let others in, so that two changes at once cannot take away the last of them.
SELECT id FROM users WHERE 'owner' = ANY (roles) AND disabled_at IS NULL ORDER BY id FOR UPDATE;

-- name: lock_user
-- Holds a user by name.
-- $1 name
SELECT id, username, full_name, email, roles, is_system, created_at, disabled_at FROM users WHERE username = $1 FOR UPDATE;

-- name: set_user_roles
-- Gives a user these site-wide roles and no others.
-- $1 user, $2 roles
UPDATE users SET roles = $2 WHERE id = $1;

-- name: set_user_disabled
-- Bars a user, or lets them in again.
-- $1 user, $2 since when, or null
UPDATE users SET disabled_at = $2 WHERE id = $1;

-- name: insert_organization
-- Adds an organization. No row: the name is taken.
-- $1 id, $2 name, $3 now
INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_organizations
-- Reads organizations by name.
-- $1 ids or null for all
SELECT id, name, is_default, created_at, workspaces_per_user_max FROM organizations WHERE $1::uuid[] IS NULL OR id = ANY ($1) ORDER BY name;

-- name: find_member_roles
-- Reads and holds a user's roles in an organization; no row if they do not belong to it.
-- $1 organization, $2 user
SELECT roles FROM organization_members WHERE organization_id = $1 AND user_id = $2 FOR UPDATE;

-- name: set_member
-- Puts a user into an organization with these roles and no others.
-- $1 organization, $2 user, $3 roles, $4 now
INSERT INTO organization_members (organization_id, user_id, roles, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, user_id) DO UPDATE SET roles = excluded.roles;

-- name: remove_member
-- Takes a user out of an organization. No row: they were not in it.
-- $1 organization, $2 user
DELETE FROM organization_members WHERE organization_id = $1 AND user_id = $2 RETURNING roles;

-- name: list_members
-- Reads who belongs to an organization, by name.
-- $1 organization, $2 also the system user
SELECT u.id AS user_id, u.username, m.roles
FROM organization_members m JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND ($2 OR NOT u.is_system)
ORDER BY u.username;

-- name: list_audit
-- Reads who did what, newest first.
-- $1 happened before or null, $2 and below this id, $3 how many at most
SELECT a.id, a.happened_at, a.actor_id, coalesce(u.username, '') AS actor, a.action, a.target_kind, a.target_id, a.organization_id,
       a.details, a.trace_id
FROM audit_log a LEFT JOIN users u ON u.id = a.actor_id
WHERE $1::timestamptz IS NULL OR (a.happened_at, a.id) < ($1, $2::uuid)
ORDER BY a.happened_at DESC, a.id DESC
LIMIT $3;

-- name: set_quota
-- Sets how many workspaces each person may have in an organization. No row if it was so already.
-- $1 organization, $2 how many or null for no limit
UPDATE organizations SET workspaces_per_user_max = $2 WHERE id = $1 AND workspaces_per_user_max IS DISTINCT FROM $2
RETURNING id;

-- name: lock_quota
-- Lets one request at a time use up what somebody may have in an organization, on any replica, until the transaction ends.
-- $1 user, $2 organization
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || $2::uuid::text, 0));

-- name: count_owned
-- How many workspaces somebody has in an organization.
-- $1 user, $2 organization
SELECT count(*)::int FROM workspaces WHERE owner_id = $1 AND organization_id = $2 AND deleted_at IS NULL;
