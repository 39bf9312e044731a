"""People, organizations, credentials and deeds as tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table

from warmpool.control.v1.people_pb2 import AuditEntry, Key, Member, Organization, Token, User
from warmpool_cli.render.tables import plain_table
from warmpool_cli.render.words import local_time, since

__all__ = [
    "audit_table",
    "keys_table",
    "members_table",
    "organizations_table",
    "tokens_table",
    "users_table",
]


def users_table(users: Iterable[User], now: datetime) -> Table:
    """One line a user."""
    return plain_table(
        ("user", "full name", "email", "roles", "may log in", "added"),
        (
            (
                user.username,
                user.full_name or "-",
                user.email or "-",
                ", ".join(user.roles) or "-",
                "no (system)"
                if user.is_system
                else "no (disabled)"
                if user.HasField("disabled_at")
                else "yes",
                since(user.created_at, now),
            )
            for user in users
        ),
    )


def tokens_table(tokens: Iterable[Token], now: datetime) -> Table:
    """One line a token."""
    return plain_table(
        ("id", "user", "name", "made", "ends"),
        (
            (token.id, token.username, token.name, since(token.created_at, now), _end(token, now))
            for token in tokens
        ),
    )


def organizations_table(organizations: Iterable[Organization], now: datetime) -> Table:
    """One line an organization."""
    return plain_table(
        ("organization", "default", "quota", "added"),
        (
            (
                organization.name,
                "yes" if organization.is_default else "",
                str(organization.workspaces_per_user_max)
                if organization.HasField("workspaces_per_user_max")
                else "none",
                since(organization.created_at, now),
            )
            for organization in organizations
        ),
    )


def members_table(members: Iterable[Member]) -> Table:
    """One line a member."""
    return plain_table(
        ("user", "roles"),
        ((member.username, ", ".join(member.roles) or "-") for member in members),
    )


def keys_table(keys: Iterable[Key], now: datetime) -> Table:
    """One line a key."""
    return plain_table(
        ("id", "kind", "name", "organization", "tags", "made", "revoked"),
        (
            (
                key.id,
                key.kind,
                key.name,
                key.organization or "any",
                ", ".join(f"{name}={value}" for name, value in sorted(key.tags.items())) or "-",
                since(key.created_at, now),
                f"{since(key.revoked_at, now)} ago" if key.HasField("revoked_at") else "",
            )
            for key in keys
        ),
    )


def audit_table(entries: Iterable[AuditEntry]) -> Table:
    """One line a deed."""
    return plain_table(
        ("when", "who", "what", "to", "more", "trace"),
        (
            (
                local_time(entry.happened_at),
                entry.actor or "the system",
                entry.action,
                f"{entry.target_kind} {entry.target_id}",
                entry.details_json,
                entry.trace_id or "-",
            )
            for entry in entries
        ),
    )


def _end(token: Token, now: datetime) -> str:
    if token.HasField("revoked_at"):
        return f"revoked {since(token.revoked_at, now)} ago"
    if not token.HasField("expires_at"):
        return "never"
    ends = since(token.expires_at, now)
    return ends if ends.startswith("in ") else f"expired {ends} ago"
