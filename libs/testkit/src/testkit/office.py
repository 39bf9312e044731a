"""The control plane's API for people on a real port, over a real database with one pool."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc

from bus.memory import MemoryBus
from reconciler.core.notifications.fanout import Target
from reconciler.core.notifications.kinds import Channel
from reconciler.core.pools import PoolSettings
from reconciler.loops.hints import BusHints
from reconciler.rpc.authorizer import TokenAuthorizer
from reconciler.rpc.creation import Creation
from reconciler.rpc.lifecycle import LivingWorkspaceServicer
from reconciler.rpc.notifications import NotificationServicer
from reconciler.rpc.people import PeopleServicer
from reconciler.rpc.pools import PoolServicer
from reconciler.rpc.system import SystemServicer
from reconciler.rpc.templates import TemplateServicer
from reconciler.store.claims import Claimed, NewIds, Wanted
from reconciler.store.identity import Identities, ensure_bootstrap
from reconciler.store.lifecycle import Lifecycles
from reconciler.store.offers import Offers
from reconciler.store.quotas import Quotas
from svckit.auth import hash_token
from svckit.channel import open_channel
from svckit.server import GrpcServer
from svckit.status import RemoteError, read_error
from svckit.system import new_token
from testkit.pool_world import PoolWorld
from warmpool.control.v1 import (
    notifications_pb2_grpc,
    people_pb2,
    people_pb2_grpc,
    pools_pb2_grpc,
    system_pb2_grpc,
    templates_pb2_grpc,
    workspaces_pb2_grpc,
)

__all__ = [
    "OWNER_TOKEN",
    "TRACE",
    "TRACE_ID",
    "Office",
    "Stubs",
    "code_of",
    "refused",
    "serve_office",
]

OWNER_TOKEN = "owner-token"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = (("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01"),)


@dataclass(frozen=True, slots=True)
class Stubs:
    """What somebody calls."""

    notifications: notifications_pb2_grpc.NotificationServiceStub
    people: people_pb2_grpc.PeopleServiceStub
    pools: pools_pb2_grpc.PoolServiceStub
    system: system_pb2_grpc.SystemServiceStub
    templates: templates_pb2_grpc.TemplateServiceStub
    workspaces: workspaces_pb2_grpc.WorkspaceServiceStub


class Ids:
    """Makes ids in order, so that deeds of one moment are listed in theirs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1_000_000)

    def __call__(self) -> UUID:
        """The next one."""
        return UUID(int=next(self._numbers))


class OneByOne:
    """Makes each claim by itself, at once."""

    def __init__(self, world: PoolWorld) -> None:
        self._world = world

    async def claim(self, wanted: Wanted, ids: NewIds) -> Claimed | None:
        """Moves the oldest eligible prebuild of the preset; None if there is none."""
        return await self._world.maker.claim(wanted, ids, self._world.clock.now())


class Office:
    """The installation, and ways to call it as anybody."""

    def __init__(self, world: PoolWorld, hints: BusHints, stack: AsyncExitStack) -> None:
        self.world = world
        self.hints = hints
        self.port = 0
        self._stack = stack

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def calling(self, token: str = OWNER_TOKEN) -> Stubs:
        """Stubs that call with a token until the test ends."""
        channel = await self._stack.enter_async_context(open_channel(self.address, token=token))
        return Stubs(
            notifications=notifications_pb2_grpc.NotificationServiceStub(channel),
            people=people_pb2_grpc.PeopleServiceStub(channel),
            pools=pools_pb2_grpc.PoolServiceStub(channel),
            system=system_pb2_grpc.SystemServiceStub(channel),
            templates=templates_pb2_grpc.TemplateServiceStub(channel),
            workspaces=workspaces_pb2_grpc.WorkspaceServiceStub(channel),
        )

    async def join(
        self, username: str, *roles: str, home: tuple[str, ...] = (), organization: str = ""
    ) -> Stubs:
        """A new person with site-wide roles, and roles in an organization; calls as them."""
        owner = (await self.calling()).people
        await owner.CreateUser(
            people_pb2.CreateUserRequest(
                username=username,
                roles=roles,
                organizations=[organization] if organization else [],
            )
        )
        if home:
            await owner.SetMember(
                people_pb2.SetMemberRequest(
                    organization=organization, username=username, roles=home
                )
            )
        made = await owner.CreateToken(
            people_pb2.CreateTokenRequest(username=username, name="test")
        )
        return await self.calling(made.secret)

    async def audit(self, *actions: str) -> list[dict[str, Any]]:
        """Deeds of these kinds, oldest first, without ids and times. A trace is told if it is the
        caller's `TRACE`; without one a deed has the server's own, if the process keeps traces.
        """
        owner = (await self.calling()).people
        answer = await owner.ListAudit(people_pb2.ListAuditRequest(page_size=500))
        return [
            {
                "actor": entry.actor,
                "action": entry.action,
                "target": (entry.target_kind, entry.target_id),
                "details": json.loads(entry.details_json),
                "trace_id": TRACE_ID if entry.trace_id == TRACE_ID else "",
            }
            for entry in reversed(answer.entries)
            if entry.action in actions
        ]

    async def user_id(self, username: str) -> UUID:
        """Who has this name."""
        (row,) = await self.world.fetch("SELECT id FROM users WHERE username = $1", username)
        return UUID(str(row["id"]))


async def refused(call: Awaitable[object]) -> RemoteError:
    """How a call is refused; raises AssertionError if it is not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return read_error(error)
    raise AssertionError("the call went well; it should have been refused")


async def code_of(call: Awaitable[object]) -> str:
    """The code of a call; OK if it went well."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@asynccontextmanager
async def serve_office(
    world: PoolWorld, targets: Sequence[Target] = (Target(channel=Channel.EMAIL),)
) -> AsyncGenerator[Office]:
    """The API on a port of this machine, of an installation with these sinks."""
    new_id = Ids()
    await ensure_bootstrap(
        world.database, hash_token(OWNER_TOKEN), None, None, world.clock.now(), new_id
    )
    hints, clock, stopping = BusHints(MemoryBus()), world.clock, asyncio.Event()
    offers = Offers(world.workspaces, clock)
    creation = Creation(
        world.maker,
        OneByOne(world),
        world.workspaces,
        offers,
        world.pools,
        Quotas(world.database),
        hints,
        clock,
        new_id,
    )
    authorizer = TokenAuthorizer(Identities(world.database), clock)
    people = PeopleServicer(world.database, clock, new_id, new_token, authorizer.forget)
    inboxes = NotificationServicer(world.database, clock, new_id, targets)
    templates = TemplateServicer(world.database, hints, clock, new_id)
    workspaces = LivingWorkspaceServicer(
        creation,
        offers,
        world.workspaces,
        Lifecycles(world.database),
        world.queue,
        world.ends,
        hints,
        hints,
        clock,
        new_id,
        stopping,
    )
    pools = PoolServicer(world.pools, hints, hints, clock, new_id, PoolSettings(), stopping)
    system = SystemServicer(world.database, clock, "test")
    server = GrpcServer(
        "127.0.0.1:0",
        [
            lambda s: notifications_pb2_grpc.add_NotificationServiceServicer_to_server(inboxes, s),
            lambda s: people_pb2_grpc.add_PeopleServiceServicer_to_server(people, s),
            lambda s: pools_pb2_grpc.add_PoolServiceServicer_to_server(pools, s),
            lambda s: system_pb2_grpc.add_SystemServiceServicer_to_server(system, s),
            lambda s: templates_pb2_grpc.add_TemplateServiceServicer_to_server(templates, s),
            lambda s: workspaces_pb2_grpc.add_WorkspaceServiceServicer_to_server(workspaces, s),
        ],
        authorizer,
    )
    async with AsyncExitStack() as stack:
        office = Office(world, hints, stack)
        office.port = await server.start()
        try:
            yield office
        finally:
            stopping.set()
            await stack.aclose()
            await server.stop(0)
