"""Inboxes, preferences, and what could not be sent.

An inbox is its owner's alone. Preferences and addresses are somebody's own, and owners' to change;
deliveries are the whole installation's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Kind, check_kind, check_personal_channel
from reconciler.core.notifications.views import list_preferences
from reconciler.core.people import (
    UserView,
    check_email,
    check_page_size,
    refuse_system_user,
)
from reconciler.core.permissions import may
from reconciler.rpc.principals import calling_actor, calling_user
from reconciler.store.db import Database
from reconciler.store.inbox import Inboxes
from reconciler.store.people import People
from reconciler.wire.notifications import (
    decode_channel,
    decode_ids,
    decode_status,
    encode_delivery,
    encode_message,
    encode_preferences,
)
from reconciler.wire.workspaces import decode_page_token, encode_page_token
from svckit.errors import InvalidArgument, NotFound, PermissionDenied
from svckit.system import Clock
from warmpool.control.v1 import notifications_pb2 as pb
from warmpool.control.v1 import notifications_pb2_grpc as rpc

__all__ = ["NotificationServicer"]

PAGE = 50
PAGE_MAX = 200


class NotificationServicer(rpc.NotificationServiceServicer):
    """Implements NotificationService."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        new_id: Callable[[], UUID],
        targets: Sequence[Target],
    ) -> None:
        """`targets` are the sinks that are set up."""
        self._targets = tuple(targets)
        self._inboxes = Inboxes(database)
        self._people = People(database)
        self._clock = clock
        self._new_id = new_id

    async def ListInbox(
        self, request: pb.ListInboxRequest, context: object
    ) -> pb.ListInboxResponse:
        size = check_page_size(request.page_size, PAGE, PAGE_MAX)
        before = decode_page_token(request.page_token)
        found, unread = await self._inboxes.list(
            calling_user().user_id, before, size, unread=request.unread
        )
        return pb.ListInboxResponse(
            messages=map(encode_message, found),
            unread_count=unread,
            next_page_token=encode_page_token(found[-1].created_at, found[-1].id)
            if len(found) == size
            else "",
        )

    async def MarkRead(self, request: pb.MarkReadRequest, context: object) -> pb.MarkReadResponse:
        ids = decode_ids(request.ids)
        count = await self._inboxes.mark_read(calling_user().user_id, ids, self._clock.now())
        return pb.MarkReadResponse(count=count)

    async def GetPreferences(
        self, request: pb.GetPreferencesRequest, context: object
    ) -> pb.GetPreferencesResponse:
        user = await self._find_user(request.username, "notification.read")
        said = await self._inboxes.get_preferences(user.id)
        return pb.GetPreferencesResponse(
            preferences=encode_preferences(list_preferences(said)),
            email=await self._inboxes.get_address(user.id),
        )

    async def SetPreference(
        self, request: pb.SetPreferenceRequest, context: object
    ) -> pb.SetPreferenceResponse:
        kinds = (check_kind(request.kind),) if request.kind else tuple(Kind)
        channel = check_personal_channel(request.channel)
        user = await self._find_user(request.username, "notification.update")
        await self._inboxes.set_preference(
            user,
            kinds,
            channel,
            calling_actor(self._new_id()),
            self._clock.now(),
            is_on=request.on,
        )
        said = await self._inboxes.get_preferences(user.id)
        return pb.SetPreferenceResponse(preferences=encode_preferences(list_preferences(said)))

    async def SetAddress(
        self, request: pb.SetAddressRequest, context: object
    ) -> pb.SetAddressResponse:
        email = check_email(request.email)
        user = await self._find_user(request.username, "notification.update")
        actor = calling_actor(self._new_id())
        await self._inboxes.set_address(user, email, actor, self._clock.now())
        return pb.SetAddressResponse()

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: object
    ) -> pb.ListDeliveriesResponse:
        _require("notification.read")
        size = check_page_size(request.page_size, PAGE, PAGE_MAX)
        found = await self._inboxes.list_deliveries(
            decode_page_token(request.page_token),
            size,
            status=decode_status(request.status),
            channel=decode_channel(request.channel),
        )
        return pb.ListDeliveriesResponse(
            deliveries=map(encode_delivery, found),
            next_page_token=encode_page_token(found[-1].created_at, found[-1].id)
            if len(found) == size
            else "",
        )

    async def RetryDeliveries(
        self, request: pb.RetryDeliveriesRequest, context: object
    ) -> pb.RetryDeliveriesResponse:
        _require("notification.update")
        ids = decode_ids(request.ids)
        if bool(ids) == request.all:
            raise InvalidArgument(
                "ids: name dead deliveries, or set all, and not both",
                reason="DELIVERIES_INVALID",
                field="ids",
            )
        count = await self._inboxes.retry(
            ids or None, self._targets, calling_actor(self._new_id()), self._clock.now()
        )
        return pb.RetryDeliveriesResponse(count=count)

    async def _find_user(self, username: str, permission: str) -> UserView:
        """Whom a call is about; strangers do not learn who exists."""
        caller = calling_user()
        name = caller.username if username in ("", "me") else username
        user = await self._people.find_user(name)
        if not may(caller, permission, owner_id=None if user is None else user.id):
            raise PermissionDenied(
                "username: you may see and change your own notifications; those of others need"
                f' "{permission}" for the whole installation',
                reason="PERMISSION_DENIED",
                metadata={"permission": permission},
            )
        if user is None:
            raise NotFound(
                f'username: there is no user "{name[:64]}"', reason="USER_UNKNOWN", field="username"
            )
        refuse_system_user(
            is_system=user.is_system, username=user.username, deed="is told of nothing"
        )
        return user


def _require(permission: str) -> None:
    """Raises PermissionDenied unless the caller holds it for the whole site."""
    if not may(calling_user(), permission):
        raise PermissionDenied(
            f'you lack the permission "{permission}" for the whole installation',
            reason="PERMISSION_DENIED",
            metadata={"permission": permission},
        )
