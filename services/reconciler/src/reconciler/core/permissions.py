"""Who may do what, as a table of roles. What the table does not grant is denied.

A site role counts in every organization, an organization role in its own. How far a grant reaches
depends on whose the thing is: anybody's, the caller's own, or the pool's (the system user's). Every
user is a `member` of the site, and an `organization-member` of each organization they belong to; a
service holds the one permission of its kind. The system user may do nothing over the API.

    role                 templates  pools    workspaces                    people           system
    owner                all        all      all                           all, and audit   read
    template-admin       all        all      reads and deletes the pool's; reads            read
                                             reads logs of their pushes    organizations
    auditor              read       read     read                          read, and audit  read
    member               -          -        -                             their tokens     read
    organization-admin   all        all      all                           members, keys    -
    organization-member  read       read     their own                     reads members    -

Notifications are each user's own to read and to choose; owners read and change everybody's,
auditors read them.

A prebuild is a workspace, and a resource of its own besides: `prebuilt_workspace.delete` deletes
prebuilds alone, `workspace.delete` deletes both. `may_delete` has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias
from uuid import UUID

from reconciler.core.identity import SYSTEM_USER_ID

__all__ = [
    "ORGANIZATION_ROLES",
    "PERMISSIONS",
    "SERVICE_KINDS",
    "SITE_ROLES",
    "Principal",
    "Reach",
    "ServicePrincipal",
    "UserPrincipal",
    "is_deletion_allowed",
    "is_update_allowed",
    "may",
    "may_delete",
    "may_end_builds",
    "may_somewhere",
    "organizations_where",
]


class Reach(Enum):
    """Whose things a grant is about."""

    ANY = "any"
    OWN = "own"
    POOL = "pool"


Grants: TypeAlias = frozenset[tuple[str, Reach]]

_TEMPLATES: Final = ("template.read", "template.update", "template.delete")
_POOLS: Final = ("pool.read", "pool.update")
_WORKSPACES: Final = ("workspace.create", "workspace.read", "workspace.update", "workspace.delete")
_PREBUILDS: Final = ("prebuilt_workspace.update", "prebuilt_workspace.delete")
_TOKENS: Final = ("token.read", "token.update")
_KEYS: Final = ("key.read", "key.update")
_NOTIFICATIONS: Final = ("notification.read", "notification.update")
_PEOPLE_READ: Final = (
    "user.read",
    "token.read",
    "organization.read",
    "key.read",
    "audit.read",
    "notification.read",
)
_PEOPLE: Final = (
    *_PEOPLE_READ,
    "user.update",
    "token.update",
    "organization.create",
    "organization.update",
    "key.update",
    "notification.update",
)
_SELF: Final = ("self.read", "system.read")


def _grant(reach: Reach, *permissions: str) -> Grants:
    return frozenset((permission, reach) for permission in permissions)


_NOTHING: Final[Grants] = frozenset()
_MEMBER: Final = _grant(Reach.ANY, *_SELF) | _grant(Reach.OWN, *_TOKENS, *_NOTIFICATIONS)
_ORGANIZATION_MEMBER: Final = _grant(
    Reach.ANY, "template.read", "pool.read", "organization.read"
) | _grant(Reach.OWN, *_WORKSPACES)

SITE_ROLES: Final[Mapping[str, Grants]] = {
    "owner": _grant(Reach.ANY, *_TEMPLATES, *_POOLS, *_WORKSPACES, *_PREBUILDS, *_PEOPLE, *_SELF),
    "template-admin": _grant(
        Reach.ANY, *_TEMPLATES, *_POOLS, *_PREBUILDS, "organization.read", *_SELF
    )
    | _grant(Reach.POOL, "workspace.read")
    | _grant(Reach.OWN, "workspace.read"),
    "auditor": _grant(
        Reach.ANY, "template.read", "pool.read", "workspace.read", *_PEOPLE_READ, *_SELF
    ),
    "member": _MEMBER,
}
"""What a role grants in every organization."""

ORGANIZATION_ROLES: Final[Mapping[str, Grants]] = {
    "organization-admin": _grant(
        Reach.ANY,
        *_TEMPLATES,
        *_POOLS,
        *_WORKSPACES,
        *_PREBUILDS,
        "organization.read",
        "organization.update",
        *_KEYS,
    ),
    "organization-member": _ORGANIZATION_MEMBER,
}
"""What a role grants in the organization it is held in."""

SERVICE_KINDS: Final[Mapping[str, str]] = {
    "provisioner": "provisioner.job",
    "gateway": "gateway.agent",
}
"""The permission of each kind of service, besides that of every service."""

ANY_SERVICE: Final = "instance.report"
"""What every kind of service may: tell of itself."""

PERMISSIONS: Final = frozenset(
    (
        *_TEMPLATES,
        *_POOLS,
        *_WORKSPACES,
        *_PREBUILDS,
        *_PEOPLE,
        *_SELF,
        *SERVICE_KINDS.values(),
        ANY_SERVICE,
        "agent.self",
    )
)
"""Every permission there is. `agent.self` is the agent gateway's; nobody holds it here."""

_DOORS: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace.update": ("workspace.update", "prebuilt_workspace.update"),
    "workspace.delete": ("workspace.delete", "prebuilt_workspace.delete"),
}
"""What opens the door of a method that is also about prebuilds; else the permission itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrincipal:
    """A person. `organization_roles` has a key for every organization they belong to."""

    user_id: UUID
    username: str
    roles: frozenset[str] = frozenset()
    organization_roles: Mapping[UUID, frozenset[str]] = field(
        default_factory=dict[UUID, frozenset[str]]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePrincipal:
    """A service: `kind` is "provisioner" or "gateway". Without `organization_id` it serves every
    one.
    """

    kind: str
    key_id: UUID
    organization_id: UUID | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


Principal: TypeAlias = UserPrincipal | ServicePrincipal


def may(
    principal: Principal,
    permission: str,
    *,
    organization_id: UUID | None = None,
    owner_id: UUID | None = None,
) -> bool:
    """Whether `permission` is held for a thing of `organization_id` that belongs to `owner_id`.

    Without `organization_id` the thing belongs to the whole site, so that roles in organizations do
    not count; without `owner_id` it is nobody's in particular.
    """
    match principal:
        case ServicePrincipal():
            return _serves(principal, permission) and (
                principal.organization_id is None or principal.organization_id == organization_id
            )
        case UserPrincipal():
            if principal.user_id == SYSTEM_USER_ID:
                return False
            reaches = _reaches(principal, permission, organization_id)
            return (
                Reach.ANY in reaches
                or (Reach.OWN in reaches and owner_id == principal.user_id)
                or (Reach.POOL in reaches and owner_id == SYSTEM_USER_ID)
            )


def may_somewhere(principal: Principal, permission: str) -> bool:
    """Whether `permission` is held for anything at all: the question at the door of a method, which
    asks `may` once it knows the thing.
    """
    match principal:
        case ServicePrincipal():
            return _serves(principal, permission)
        case UserPrincipal():
            return principal.user_id != SYSTEM_USER_ID and any(
                _reaches(principal, key, organization_id)
                for key in _DOORS.get(permission, (permission,))
                for organization_id in (None, *principal.organization_roles)
            )


def _serves(principal: ServicePrincipal, permission: str) -> bool:
    own = SERVICE_KINDS.get(principal.kind)
    return own is not None and permission in (own, ANY_SERVICE)


def is_update_allowed(holds: Callable[[str], bool], *, is_prebuild: bool) -> bool:
    """Whether somebody who holds these permissions for a workspace may make the change that its
    deletion implies: end its builds.
    """
    return holds("workspace.update") or (is_prebuild and holds("prebuilt_workspace.update"))


def is_deletion_allowed(holds: Callable[[str], bool], *, is_prebuild: bool) -> bool:
    """Whether somebody who holds these permissions for a workspace may delete it. It takes reading
    it, and changing and deleting it as a workspace or, for a prebuild only, as a prebuild.
    """
    return (
        holds("workspace.read")
        and is_update_allowed(holds, is_prebuild=is_prebuild)
        and (holds("workspace.delete") or (is_prebuild and holds("prebuilt_workspace.delete")))
    )


def may_delete(principal: Principal, *, organization_id: UUID, owner_id: UUID) -> bool:
    """Whether the workspace of that owner may be deleted."""
    return is_deletion_allowed(
        lambda permission: may(
            principal, permission, organization_id=organization_id, owner_id=owner_id
        ),
        is_prebuild=owner_id == SYSTEM_USER_ID,
    )


def may_end_builds(principal: Principal, *, organization_id: UUID, owner_id: UUID) -> bool:
    """Whether builds of the workspace of that owner may be ended: of a workspace with
    `workspace.update`, of a prebuild with `prebuilt_workspace.update` too.
    """
    return is_update_allowed(
        lambda permission: may(
            principal, permission, organization_id=organization_id, owner_id=owner_id
        ),
        is_prebuild=owner_id == SYSTEM_USER_ID,
    )


def organizations_where(principal: UserPrincipal, permission: str) -> frozenset[UUID] | None:
    """The organizations where `permission` is held for everybody's things; None means all of
    them.
    """
    if may(principal, permission):
        return None
    return frozenset(
        organization_id
        for organization_id in principal.organization_roles
        if may(principal, permission, organization_id=organization_id)
    )


def _reaches(
    user: UserPrincipal, permission: str, organization_id: UUID | None
) -> frozenset[Reach]:
    grants = _MEMBER.union(*(SITE_ROLES.get(role, _NOTHING) for role in user.roles))
    if organization_id is not None and organization_id in user.organization_roles:
        roles = user.organization_roles[organization_id]
        grants = grants.union(
            _ORGANIZATION_MEMBER, *(ORGANIZATION_ROLES.get(role, _NOTHING) for role in roles)
        )
    return frozenset(reach for granted, reach in grants if granted == permission)
