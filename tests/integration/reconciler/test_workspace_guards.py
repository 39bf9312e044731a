"""What no caller may do to workspaces, over the wire of a whole reconciler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import grpc.aio
import pytest
from pydantic import SecretStr

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID
from reconciler.store.db import Database
from reconciler.wiring.app import serve
from reconciler.wiring.settings import ReconcilerSettings
from svckit.auth import hash_token
from svckit.channel import open_channel
from svckit.errors import FailedPrecondition
from svckit.rungroup import RunGroup
from svckit.status import RemoteError, read_error
from svckit.system import SystemClock
from testkit.clock import SettableClock
from testkit.eventually import eventually
from testkit.pool_world import PoolWorld, token_hash
from warmpool.common.v1 import types_pb2 as common
from warmpool.control.v1 import workspaces_pb2 as pb
from warmpool.control.v1 import workspaces_pb2_grpc as rpc
from warmpool.control.v1.pools_pb2 import SetPoolPausedRequest
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.gateway.v1.gateway_pb2 import RecordLifecycleRequest
from warmpool.gateway.v1.gateway_pb2_grpc import GatewayServiceStub

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Control:
    """A reconciler whose pools are paused: ada is a member, chief an owner, warden a template
    admin. Everybody's token is their name.
    """

    world: PoolWorld
    port: int

    @asynccontextmanager
    async def client(self, token: str) -> AsyncGenerator[rpc.WorkspaceServiceStub]:
        """A caller."""
        async with open_channel(f"127.0.0.1:{self.port}", token=token) as channel:
            yield rpc.WorkspaceServiceStub(channel)


@pytest.fixture
async def control(
    migrated_database: Database, migrated_url: str, nats_url: str, tmp_path: Path
) -> AsyncGenerator[Control]:
    world = await PoolWorld.create(migrated_database)
    world.clock = SettableClock(SystemClock().now())
    await world.pools.set_paused(True, world.clock.now())
    await _add_user(world, world.ada, "ada", [])
    await _add_user(world, uuid4(), "chief", ["owner"])
    await _add_user(world, uuid4(), "warden", ["template-admin"])
    settings = ReconcilerSettings(
        database_url=SecretStr(migrated_url),
        nats_url=SecretStr(nats_url),
        database_pool_max=6,
        migrate=False,
        allow_plain_state=True,
        port_file=tmp_path / "port",
    )
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(settings, RunGroup(stopping)))
        port = await eventually(lambda: _read_port(settings.port_file))
        yield Control(world, port)
        stopping.set()


def _read_port(path: Path | None) -> int:
    assert path is not None
    assert path.exists()
    return int(path.read_text())


async def _add_user(world: PoolWorld, user_id: UUID, name: str, roles: list[str]) -> None:
    now = world.clock.now()
    await world.execute(
        "INSERT INTO users (id, username, roles, created_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        user_id,
        name,
        roles,
        now,
    )
    await world.execute(
        "INSERT INTO organization_members VALUES ($1, $2, '{}', $3)",
        DEFAULT_ORGANIZATION_ID,
        user_id,
        now,
    )
    await world.execute(
        "INSERT INTO api_tokens (id, user_id, name, token_hash, created_at)"
        " VALUES ($1, $2, 'test', $3, $4)",
        uuid4(),
        user_id,
        hash_token(name),
        now,
    )


@asynccontextmanager
async def _gateway(control: Control) -> AsyncGenerator[GatewayServiceStub]:
    await control.world.execute(
        "INSERT INTO service_keys (id, kind, name, key_hash, created_at)"
        " VALUES ($1, 'gateway', 'test', $2, $3)",
        uuid4(),
        hash_token("gateway"),
        control.world.clock.now(),
    )
    async with open_channel(f"127.0.0.1:{control.port}", token="gateway") as channel:
        yield GatewayServiceStub(channel)


async def _create(caller: rpc.WorkspaceServiceStub, request_id: str) -> str:
    """Asks for a workspace; the field that is refused, or OK."""
    request = pb.CreateWorkspaceRequest(template="dev", preset="standard", request_id=request_id)
    try:
        await caller.CreateWorkspace(request)
    except grpc.aio.AioRpcError as error:
        return read_error(error).field
    return "OK"


async def _refusal(call: Awaitable[object]) -> RemoteError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return read_error(raised.value)


async def test_nobody_creates_workspaces_for_the_pools_own_user(control: Control) -> None:
    prebuild_id = await control.world.ready_prebuild()
    async with control.client("chief") as chief, control.client("ada") as ada:
        request = pb.CreateWorkspaceRequest(template="dev", preset="standard", owner="prebuilds")
        refused = await _refusal(chief.CreateWorkspace(request))
        made = await ada.CreateWorkspace(
            pb.CreateWorkspaceRequest(template="dev", preset="standard")
        )
    assert (refused.code, refused.reason, refused.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "OWNER_IS_THE_POOL",
        "owner",
    )
    assert (made.warm, made.workspace.id) == (True, str(prebuild_id))


async def test_who_may_delete_a_prebuild_may_not_delete_what_was_claimed_meanwhile(
    control: Control,
) -> None:
    world = control.world
    workspace_id = await world.ready_prebuild()
    seen = await world.workspaces.get(workspace_id, world.clock.now())
    assert await world.claim() == workspace_id
    await world.complete(await world.acquire())
    with pytest.raises(FailedPrecondition) as raised:
        await world.workspaces.queue_build(
            workspace_id,
            seen.owner_id,
            transition="delete",
            version_id=None,
            parameters=None,
            initiator_id=world.ada,
            build_id=uuid4(),
            job_id=uuid4(),
            traceparent="",
            now=world.clock.now(),
        )
    assert raised.value.reason == "OWNER_CHANGED"
    async with control.client("warden") as warden, control.client("ada") as ada:
        request = pb.DeleteWorkspaceRequest(workspace_id=str(workspace_id))
        assert (await _refusal(warden.DeleteWorkspace(request))).code is grpc.StatusCode.NOT_FOUND
        deleted = await ada.DeleteWorkspace(request)
    assert deleted.workspace.latest_build.transition == common.TRANSITION_DELETE


async def test_one_callers_bad_request_id_costs_nobody_else_a_claim(control: Control) -> None:
    for _ in range(3):
        await control.world.ready_prebuild()
    async with control.client("ada") as ada, asyncio.TaskGroup() as tasks:
        good = [tasks.create_task(_create(ada, f"r-{n}")) for n in range(3)]
        bad = [tasks.create_task(_create(ada, f"{n}\0")) for n in range(3)]
    assert [made.result() for made in good] == ["OK"] * 3
    assert [made.result() for made in bad] == ["request_id"] * 3


async def test_a_pool_of_the_same_name_elsewhere_does_not_shadow_ones_own(
    control: Control,
) -> None:
    moon, far = uuid4(), uuid4()
    await control.world.execute(
        "INSERT INTO organizations (id, name, created_at) VALUES ($1, 'moon', now())", moon
    )
    await control.world.execute(
        "INSERT INTO templates (id, organization_id, name, provisioner_type, created_at)"
        " VALUES ($1, $2, 'dev', 'process', '2001-01-01'), ($3, $2, 'far', 'process', now())",
        uuid4(),
        moon,
        far,
    )
    await control.world.execute("UPDATE organization_members SET roles = '{organization-admin}'")
    async with open_channel(f"127.0.0.1:{control.port}", token="ada") as channel:
        pools = PoolServiceStub(channel)
        await pools.SetPoolPaused(SetPoolPausedRequest(template="dev", paused=True))
        unseen = await _refusal(
            pools.SetPoolPaused(SetPoolPausedRequest(template="far", paused=True))
        )
    assert unseen.code is grpc.StatusCode.NOT_FOUND
    assert await control.world.fetch("SELECT template_id FROM pool_pauses") == [
        {"template_id": control.world.template_id}
    ]


async def test_a_text_that_holds_a_nul_is_refused(control: Control) -> None:
    fields = ("organization", "template", "version", "preset", "owner", "name", "request_id")
    codes: dict[str, str] = {}
    async with control.client("ada") as ada:
        for field in fields:
            request = pb.CreateWorkspaceRequest(template="dev")
            setattr(request, field, "a\0b")
            codes[field] = (await _refusal(ada.CreateWorkspace(request))).code.name
    assert codes == dict.fromkeys(fields, "INVALID_ARGUMENT") | {"preset": "NOT_FOUND"}


async def test_what_an_agent_says_is_kept_even_if_it_holds_a_nul(control: Control) -> None:
    workspace_id = await control.world.ready_prebuild()
    async with _gateway(control) as gateway:
        await gateway.RecordLifecycle(
            RecordLifecycleRequest(
                token_hash=token_hash(workspace_id),
                lifecycle=common.AGENT_LIFECYCLE_START_ERROR,
                error="exit code 1: \0",
            )
        )
    assert await control.world.fetch("SELECT lifecycle, lifecycle_error FROM agents") == [
        {"lifecycle": "start_error", "lifecycle_error": "exit code 1: \N{REPLACEMENT CHARACTER}"}
    ]


async def test_a_stream_ends_with_the_token_it_was_opened_with(control: Control) -> None:
    workspace_id = await control.world.ready_prebuild()
    async with control.client("chief") as chief:
        watch = chief.WatchWorkspace(pb.WatchWorkspaceRequest(workspace_id=str(workspace_id)))
        await watch.read()
        await control.world.execute("UPDATE api_tokens SET revoked_at = created_at")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await _read_to_the_end(watch)
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_page_holds_what_its_reader_may_see(control: Control) -> None:
    world = control.world
    for _ in range(3):
        await world.ready_prebuild()
    mine = await world.claim()
    async with control.client("ada") as ada, control.client("warden") as warden:
        request = pb.ListWorkspacesRequest(owner="*", include_system=True, page_size=1)
        (only,) = (await ada.ListWorkspaces(request)).workspaces
        request = pb.ListWorkspacesRequest(owner="*", include_system=True)
        seen = (await warden.ListWorkspaces(request)).workspaces
    assert only.id == str(mine)
    assert [workspace.is_prebuild for workspace in seen] == [True, True]


async def _read_to_the_end(watch: AsyncIterable[pb.WatchWorkspaceResponse]) -> None:
    async for _ in watch:
        pass
