"""People, their tokens, organizations, services' keys, and the audit log.

A method's permission opened its door; each checks it again for the thing it is about. What changes
who is let in is forgotten by this replica's authorizer at once and by the others' within its
`CACHE_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from reconciler.core.audit import Actor
from reconciler.core.identity import DEFAULT_ORGANIZATION_NAME
from reconciler.core.names import check_name
from reconciler.core.people import (
    KEY_PREFIX,
    TOKEN_PREFIX,
    KeyView,
    OrganizationView,
    TokenView,
    UserView,
    check_email,
    check_key,
    check_organization_roles,
    check_page_size,
    check_quota,
    check_site_roles,
    check_text,
    check_username,
    refuse_system_user,
    token_expiry,
)
from reconciler.core.permissions import may, organizations_where
from reconciler.rpc.principals import calling_actor, calling_user
from reconciler.store.audit import AuditLog
from reconciler.store.credentials import Credentials
from reconciler.store.db import Database
from reconciler.store.identity import Identities
from reconciler.store.people import People
from reconciler.wire.people import (
    encode_audit,
    encode_key,
    encode_member,
    encode_organization,
    encode_token,
    encode_user,
)
from reconciler.wire.values import decode_uuid
from reconciler.wire.workspaces import decode_page_token, encode_page_token
from svckit.auth import hash_token
from svckit.errors import FailedPrecondition, NotFound, PermissionDenied
from svckit.system import Clock
from warmpool.control.v1 import people_pb2 as pb
from warmpool.control.v1 import people_pb2_grpc as rpc

__all__ = ["PeopleServicer"]

AUDIT_PAGE = 100
AUDIT_PAGE_MAX = 500


class PeopleServicer(rpc.PeopleServiceServicer):
    """Implements PeopleService. `new_token` makes secrets of 256 bit; `forget` is called when
    somebody may have lost or won a right.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        new_id: Callable[[], UUID],
        new_token: Callable[[], str],
        forget: Callable[[], None],
    ) -> None:
        self._people = People(database)
        self._credentials = Credentials(database)
        self._identities = Identities(database)
        self._audit = AuditLog(database)
        self._clock = clock
        self._new_id = new_id
        self._new_token = new_token
        self._forget = forget

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: object
    ) -> pb.CreateUserResponse:
        _require("user.update")
        now = self._clock.now()
        user = UserView(
            id=self._new_id(),
            username=check_username(request.username),
            full_name=check_text(request.full_name, "full_name"),
            email=check_email(request.email),
            roles=check_site_roles(request.roles),
            is_system=False,
            created_at=now,
        )
        organizations = tuple(
            check_name(name, "organizations")
            for name in request.organizations or (DEFAULT_ORGANIZATION_NAME,)
        )
        created = await self._people.create_user(user, organizations, self._actor(), now)
        return pb.CreateUserResponse(user=encode_user(created))

    async def ListUsers(
        self, request: pb.ListUsersRequest, context: object
    ) -> pb.ListUsersResponse:
        _require("user.read")
        found = await self._people.list_users(include_system=request.include_system)
        return pb.ListUsersResponse(users=map(encode_user, found))

    async def SetUserRoles(
        self, request: pb.SetUserRolesRequest, context: object
    ) -> pb.SetUserRolesResponse:
        _require("user.update")
        user = await self._people.set_roles(
            check_name(request.username, "username"),
            check_site_roles(request.roles),
            self._actor(),
            self._clock.now(),
        )
        self._forget()
        return pb.SetUserRolesResponse(user=encode_user(user))

    async def SetUserDisabled(
        self, request: pb.SetUserDisabledRequest, context: object
    ) -> pb.SetUserDisabledResponse:
        _require("user.update")
        user = await self._people.set_disabled(
            check_name(request.username, "username"),
            request.disabled,
            self._actor(),
            self._clock.now(),
        )
        self._forget()
        return pb.SetUserDisabledResponse(user=encode_user(user))

    async def CreateToken(
        self, request: pb.CreateTokenRequest, context: object
    ) -> pb.CreateTokenResponse:
        now = self._clock.now()
        name = check_text(request.name, "name", required=True)
        expires_at = token_expiry(request.lifetime_seconds, now)
        user = await self._find_holder(request.username, "token.update")
        refuse_system_user(
            is_system=user.is_system, username=user.username, deed="cannot log in and has no tokens"
        )
        if user.disabled_at is not None:
            raise FailedPrecondition(
                f'username: "{user.username}" is disabled; enable them first',
                reason="USER_DISABLED",
                field="username",
            )
        secret = TOKEN_PREFIX + self._new_token()
        token = TokenView(
            id=self._new_id(),
            user_id=user.id,
            username=user.username,
            name=name,
            created_at=now,
            expires_at=expires_at,
        )
        await self._credentials.create_token(token, hash_token(secret), self._actor())
        return pb.CreateTokenResponse(token=encode_token(token), secret=secret)

    async def ListTokens(
        self, request: pb.ListTokensRequest, context: object
    ) -> pb.ListTokensResponse:
        user = await self._find_holder(request.username, "token.read")
        found = await self._credentials.list_tokens(user.id)
        return pb.ListTokensResponse(tokens=map(encode_token, found))

    async def RevokeToken(
        self, request: pb.RevokeTokenRequest, context: object
    ) -> pb.RevokeTokenResponse:
        token_id = decode_uuid(request.token_id, "token_id")
        token = await self._credentials.find_token(token_id)
        if token is None or not may(calling_user(), "token.update", owner_id=token.user_id):
            raise NotFound(
                f"token_id: there is no token {token_id} that you may end",
                reason="TOKEN_UNKNOWN",
                field="token_id",
            )
        await self._credentials.revoke_token(token, self._actor(), self._clock.now())
        self._forget()
        return pb.RevokeTokenResponse()

    async def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, context: object
    ) -> pb.CreateOrganizationResponse:
        _require("organization.create")
        now = self._clock.now()
        organization = OrganizationView(
            id=self._new_id(), name=check_name(request.name), is_default=False, created_at=now
        )
        await self._people.create_organization(organization, self._actor(), now)
        return pb.CreateOrganizationResponse(organization=encode_organization(organization))

    async def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, context: object
    ) -> pb.ListOrganizationsResponse:
        ids = organizations_where(calling_user(), "organization.read")
        found = await self._people.list_organizations(None if ids is None else tuple(ids))
        return pb.ListOrganizationsResponse(organizations=map(encode_organization, found))

    async def SetOrganizationQuota(
        self, request: pb.SetOrganizationQuotaRequest, context: object
    ) -> pb.SetOrganizationQuotaResponse:
        limit = None
        if request.HasField("workspaces_per_user_max"):
            limit = check_quota(request.workspaces_per_user_max)
        organization_id = await self._find_organization(request.organization, "organization.update")
        changed = await self._people.set_quota(
            organization_id, limit, self._actor(), self._clock.now()
        )
        return pb.SetOrganizationQuotaResponse(organization=encode_organization(changed))

    async def SetMember(
        self, request: pb.SetMemberRequest, context: object
    ) -> pb.SetMemberResponse:
        organization_id = await self._find_organization(request.organization, "organization.update")
        member = await self._people.set_member(
            organization_id,
            check_name(request.username, "username"),
            check_organization_roles(request.roles),
            self._actor(),
            self._clock.now(),
        )
        self._forget()
        return pb.SetMemberResponse(member=encode_member(member))

    async def RemoveMember(
        self, request: pb.RemoveMemberRequest, context: object
    ) -> pb.RemoveMemberResponse:
        organization_id = await self._find_organization(request.organization, "organization.update")
        await self._people.remove_member(
            organization_id,
            check_name(request.username, "username"),
            self._actor(),
            self._clock.now(),
        )
        self._forget()
        return pb.RemoveMemberResponse()

    async def ListMembers(
        self, request: pb.ListMembersRequest, context: object
    ) -> pb.ListMembersResponse:
        organization_id = await self._find_organization(request.organization, "organization.read")
        found = await self._people.list_members(
            organization_id, include_system=request.include_system
        )
        return pb.ListMembersResponse(members=map(encode_member, found))

    async def CreateKey(
        self, request: pb.CreateKeyRequest, context: object
    ) -> pb.CreateKeyResponse:
        name = check_text(request.name, "name", required=True)
        tags = dict(request.tags)
        check_key(request.kind, request.organization, tags)
        organization_id = None
        if request.organization:
            organization_id = await self._find_organization(request.organization, "key.update")
        else:
            _require("key.update")
        secret = KEY_PREFIX + self._new_token()
        key = KeyView(
            id=self._new_id(),
            kind=request.kind,
            name=name,
            organization_id=organization_id,
            organization_name=request.organization,
            tags=tags,
            created_at=self._clock.now(),
        )
        await self._credentials.create_key(key, hash_token(secret), self._actor())
        return pb.CreateKeyResponse(key=encode_key(key), secret=secret)

    async def ListKeys(self, request: pb.ListKeysRequest, context: object) -> pb.ListKeysResponse:
        caller = calling_user()
        return pb.ListKeysResponse(
            keys=[
                encode_key(key)
                for key in await self._credentials.list_keys()
                if may(caller, "key.read", organization_id=key.organization_id)
            ]
        )

    async def RevokeKey(
        self, request: pb.RevokeKeyRequest, context: object
    ) -> pb.RevokeKeyResponse:
        key_id = decode_uuid(request.key_id, "key_id")
        key = await self._credentials.find_key(key_id)
        if key is None or not may(
            calling_user(), "key.update", organization_id=key.organization_id
        ):
            raise NotFound(
                f"key_id: there is no key {key_id} that you may end",
                reason="KEY_UNKNOWN",
                field="key_id",
            )
        await self._credentials.revoke_key(key, self._actor(), self._clock.now())
        self._forget()
        return pb.RevokeKeyResponse()

    async def ListAudit(
        self, request: pb.ListAuditRequest, context: object
    ) -> pb.ListAuditResponse:
        _require("audit.read")
        size = check_page_size(request.page_size, AUDIT_PAGE, AUDIT_PAGE_MAX)
        found = await self._audit.list(decode_page_token(request.page_token), size)
        is_full = len(found) == size
        return pb.ListAuditResponse(
            entries=map(encode_audit, found),
            next_page_token=encode_page_token(found[-1].happened_at, found[-1].entry.id)
            if is_full
            else "",
        )

    async def _find_holder(self, username: str, permission: str) -> UserView:
        """Whose tokens a call is about; strangers do not learn who exists."""
        caller = calling_user()
        name = caller.username if username in ("", "me") else check_name(username, "username")
        user = await self._people.find_user(name)
        if not may(caller, permission, owner_id=None if user is None else user.id):
            raise PermissionDenied(
                f'you may see and change your own tokens; those of others need "{permission}"',
                reason="PERMISSION_DENIED",
                metadata={"permission": permission},
            )
        if user is None:
            raise NotFound(
                f'username: there is no user "{name}"', reason="USER_UNKNOWN", field="username"
            )
        return user

    async def _find_organization(self, name: str, permission: str) -> UUID:
        name = name or DEFAULT_ORGANIZATION_NAME
        caller = calling_user()
        found = await self._identities.find_organization(check_name(name, "organization"))
        if found is None or not may(caller, "organization.read", organization_id=found.id):
            raise NotFound(
                f'organization: there is no organization "{name}" that you belong to',
                reason="ORGANIZATION_UNKNOWN",
                field="organization",
            )
        if not may(caller, permission, organization_id=found.id):
            raise PermissionDenied(
                f'organization: you need the permission "{permission}" in "{name}"; its admins and'
                " owners hold it",
                reason="PERMISSION_DENIED",
                metadata={"permission": permission, "organization": name},
            )
        return found.id

    def _actor(self) -> Actor:
        return calling_actor(self._new_id())


def _require(permission: str) -> None:
    """Raises PermissionDenied unless the caller holds it for the whole site."""
    if not may(calling_user(), permission):
        raise PermissionDenied(
            f'you lack the permission "{permission}" for the whole installation',
            reason="PERMISSION_DENIED",
            metadata={"permission": permission},
        )
