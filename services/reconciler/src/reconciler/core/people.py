"""People, organizations and credentials: what is seen of them, and what may be asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import MessageError
from email.headerregistry import Address
from typing import Final
from uuid import UUID

from reconciler.core.names import check_name
from svckit.errors import FailedPrecondition, InvalidArgument

__all__ = [
    "KEY_PREFIX",
    "OWNER",
    "TOKEN_LIFETIME",
    "TOKEN_LIFETIME_MAX",
    "TOKEN_PREFIX",
    "KeyView",
    "MemberView",
    "OrganizationView",
    "TokenView",
    "UserView",
    "check_email",
    "check_key",
    "check_organization_roles",
    "check_page_size",
    "check_quota",
    "check_site_roles",
    "check_tags",
    "check_text",
    "check_username",
    "refuse_system_user",
    "token_expiry",
]

OWNER: Final = "owner"
TOKEN_PREFIX: Final = "wp_"
KEY_PREFIX: Final = "wpk_"
TOKEN_LIFETIME: Final = timedelta(days=30)
TOKEN_LIFETIME_MAX: Final = timedelta(days=365)
SITE_ROLES_GIVEN: Final = ("owner", "template-admin", "auditor")
"""What can be given; everybody is a member without it."""
ORGANIZATION_ROLES_GIVEN: Final = ("organization-admin",)
KEY_KINDS: Final = ("provisioner", "gateway")
NAMES_TAKEN: Final = frozenset({"me"})
"""User names that mean something else where one is asked for."""
TEXT_CHARS_MAX: Final = 128
EMAIL_CHARS_MAX: Final = 254
TAGS_MAX: Final = 32
QUOTA_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """A person, or the system user."""

    id: UUID
    username: str
    full_name: str
    email: str
    roles: tuple[str, ...]
    is_system: bool
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A user's token, without its secret."""

    id: UUID
    user_id: UUID
    username: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationView:
    """What owns templates and workspaces. `workspaces_per_user_max` None is no limit."""

    id: UUID
    name: str
    is_default: bool
    created_at: datetime
    workspaces_per_user_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A user in an organization, with their roles there."""

    user_id: UUID
    username: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A service's key, without its secret. No organization means any."""

    id: UUID
    kind: str
    name: str
    organization_id: UUID | None
    organization_name: str
    tags: Mapping[str, str]
    created_at: datetime
    revoked_at: datetime | None = None


def check_username(name: str) -> str:
    """The user name, or InvalidArgument that says what is allowed."""
    if name in NAMES_TAKEN:
        raise InvalidArgument(
            f'username: "{name}" means the caller; choose another one',
            reason="NAME_INVALID",
            field="username",
        )
    return check_name(name, "username")


def check_site_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles once each, by name; InvalidArgument for one that cannot be given."""
    return _check_roles(roles, SITE_ROLES_GIVEN, "every user is a member without it")


def check_organization_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles once each, by name; InvalidArgument for one that cannot be given."""
    return _check_roles(roles, ORGANIZATION_ROLES_GIVEN, "every member reads without it")


def _check_roles(roles: Iterable[str], given: tuple[str, ...], note: str) -> tuple[str, ...]:
    found = sorted(set(roles))
    for role in found:
        if role not in given:
            allowed = ", ".join(f'"{name}"' for name in given)
            raise InvalidArgument(
                f'roles: "{role[:64]}" cannot be given; allowed: {allowed}; {note}',
                reason="ROLE_INVALID",
                field="roles",
            )
    return tuple(found)


def check_text(text: str, field: str, *, required: bool = False) -> str:
    """A name for people: up to 128 characters that can be printed, or InvalidArgument."""
    if len(text) > TEXT_CHARS_MAX or not text.isprintable() or (required and not text.strip()):
        raise InvalidArgument(
            f"{field}: give {int(required)} to {TEXT_CHARS_MAX} printable characters on one line",
            reason="TEXT_INVALID",
            field=field,
        )
    return text


def check_email(email: str) -> str:
    """An address that mail could go to, or none, or InvalidArgument."""
    local, _, domain = email.rpartition("@")
    is_address = (
        len(email) <= EMAIL_CHARS_MAX
        and bool(local and domain)
        and email.isprintable()
        and not any(sign in email for sign in ' ,;<>"()')
        and "@" not in local
        and _can_be_addressed(email)
    )
    if email and not is_address:
        raise InvalidArgument(
            f'email: "{email[:64]}" is not an address such as ada@example.org',
            reason="EMAIL_INVALID",
            field="email",
        )
    return email


def _can_be_addressed(email: str) -> bool:
    """Whether a mail can be written to it."""
    try:
        Address(addr_spec=email)
    except (ValueError, IndexError, MessageError):  # all that `email` says of one that is none
        return False
    return True


def token_expiry(lifetime_seconds: int, now: datetime) -> datetime:
    """When a token made now ends: 0 asks for 30 days. Raises InvalidArgument beyond a year."""
    if not 0 <= lifetime_seconds <= TOKEN_LIFETIME_MAX.total_seconds():
        raise InvalidArgument(
            f"lifetime_seconds: {lifetime_seconds}; 1 to"
            f" {int(TOKEN_LIFETIME_MAX.total_seconds())} (a year), or 0 for 30 days",
            reason="LIFETIME_INVALID",
            field="lifetime_seconds",
        )
    return now + (timedelta(seconds=lifetime_seconds) if lifetime_seconds else TOKEN_LIFETIME)


def check_key(kind: str, organization: str, tags: Mapping[str, str]) -> None:
    """Raises InvalidArgument for a key no service can use: a gateway serves every organization."""
    if kind not in KEY_KINDS:
        raise InvalidArgument(
            f'kind: "{kind[:64]}"; must be "provisioner" or "gateway"',
            reason="KEY_KIND_INVALID",
            field="kind",
        )
    if kind == "gateway" and (organization or tags):
        field = "organization" if organization else "tags"
        raise InvalidArgument(
            f"{field}: a gateway serves agents of every organization; leave it empty",
            reason="KEY_SCOPE_INVALID",
            field=field,
        )
    check_tags(tags)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises InvalidArgument for tags no provisioner can have."""
    if len(tags) > TAGS_MAX:
        raise InvalidArgument(
            f"tags: {len(tags)}; at most {TAGS_MAX}", reason="TAGS_INVALID", field="tags"
        )
    for name, value in tags.items():
        check_text(name, "tags", required=True)
        check_text(value, "tags")


def check_quota(limit: int) -> int:
    """How many workspaces each person may have; raises InvalidArgument."""
    if not 0 <= limit <= QUOTA_MAX:
        raise InvalidArgument(
            f"workspaces_per_user_max: {limit}; allowed is 0 to {QUOTA_MAX}, or unset for no limit",
            reason="QUOTA_INVALID",
            field="workspaces_per_user_max",
        )
    return limit


def check_page_size(size: int, default: int, largest: int) -> int:
    """How many to list: 0 means the default. Raises InvalidArgument."""
    if not 0 <= size <= largest:
        raise InvalidArgument(
            f"page_size: {size}; 1 to {largest}, or 0 for {default}",
            reason="PAGE_SIZE_INVALID",
            field="page_size",
        )
    return size or default


def refuse_system_user(*, is_system: bool, username: str, deed: str) -> None:
    """Raises FailedPrecondition if it is the system user who would be changed by hand."""
    if is_system:
        raise FailedPrecondition(
            f'username: "{username}" is the system user, who owns prebuilds; it {deed}',
            reason="SYSTEM_USER",
            field="username",
        )
