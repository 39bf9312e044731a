"""People, organizations, credentials and the audit log between protobuf and values."""

from __future__ import annotations

import json

from reconciler.core.audit import AuditRecord
from reconciler.core.people import KeyView, MemberView, OrganizationView, TokenView, UserView
from reconciler.wire.values import encode_time
from warmpool.control.v1 import people_pb2 as pb

__all__ = [
    "encode_audit",
    "encode_key",
    "encode_member",
    "encode_organization",
    "encode_token",
    "encode_user",
]


def encode_user(user: UserView) -> pb.User:
    """A user."""
    return pb.User(
        id=str(user.id),
        username=user.username,
        full_name=user.full_name,
        email=user.email,
        roles=user.roles,
        is_system=user.is_system,
        created_at=encode_time(user.created_at),
        disabled_at=encode_time(user.disabled_at),
    )


def encode_token(token: TokenView) -> pb.Token:
    """A token, without its secret."""
    return pb.Token(
        id=str(token.id),
        username=token.username,
        name=token.name,
        created_at=encode_time(token.created_at),
        expires_at=encode_time(token.expires_at),
        revoked_at=encode_time(token.revoked_at),
    )


def encode_organization(organization: OrganizationView) -> pb.Organization:
    """An organization."""
    return pb.Organization(
        id=str(organization.id),
        name=organization.name,
        is_default=organization.is_default,
        created_at=encode_time(organization.created_at),
        workspaces_per_user_max=organization.workspaces_per_user_max,
    )


def encode_member(member: MemberView) -> pb.Member:
    """A user in an organization."""
    return pb.Member(user_id=str(member.user_id), username=member.username, roles=member.roles)


def encode_key(key: KeyView) -> pb.Key:
    """A key, without its secret."""
    return pb.Key(
        id=str(key.id),
        kind=key.kind,
        name=key.name,
        organization=key.organization_name,
        tags=key.tags,
        created_at=encode_time(key.created_at),
        revoked_at=encode_time(key.revoked_at),
    )


def encode_audit(record: AuditRecord) -> pb.AuditEntry:
    """One deed."""
    entry = record.entry
    return pb.AuditEntry(
        id=str(entry.id),
        happened_at=encode_time(record.happened_at),
        actor=record.actor,
        action=entry.action,
        target_kind=entry.target_kind,
        target_id=entry.target_id,
        details_json=json.dumps(entry.details, sort_keys=True),
        trace_id=entry.trace_id,
    )
