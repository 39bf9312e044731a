"""TLS from files: who trusts whom, and certificates that are renewed while both sides run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from svckit.cancellation import is_asked_to_end
from svckit.channel import ClientTls, open_channel
from svckit.errors import StartFailed
from svckit.reloading import RETIRED_MAX
from svckit.server import GrpcServer, TlsSettings
from testkit.certificates import make_identity
from testkit.eventually import eventually
from testkit.faultproxy import fault_proxy
from warmpool.control.v1 import pools_pb2, system_pb2
from warmpool.control.v1.pools_pb2_grpc import PoolServiceStub
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[tuple[GrpcServer, int]]]
Connect = Callable[..., grpc.aio.Channel]


async def answers(channel: grpc.aio.Channel) -> bool:
    """True if a call succeeds, False if no connection comes about."""
    stub = SystemServiceStub(channel)
    try:
        await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=10)
    except grpc.aio.AioRpcError as error:
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return False
        raise
    return True


async def test_a_channel_trusts_the_server_whose_root_it_has(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server, stranger = make_identity(tmp_path, "server"), make_identity(tmp_path, "stranger")
    _, port = await start(tls=TlsSettings(server.cert_file, server.key_file))

    assert await answers(connect(port, tls=ClientTls(ca_file=server.cert_file)))
    assert not await answers(connect(port, tls=ClientTls(ca_file=stranger.cert_file)))
    assert not await answers(connect(port))


async def test_with_client_roots_a_client_needs_a_certificate(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server, client = make_identity(tmp_path, "server"), make_identity(tmp_path, "client")
    _, port = await start(
        tls=TlsSettings(server.cert_file, server.key_file, client_ca_file=client.cert_file)
    )
    known = ClientTls(server.cert_file, client.cert_file, client.key_file)
    unknown = ClientTls(server.cert_file, server.cert_file, server.key_file)

    assert await answers(connect(port, tls=known))
    assert not await answers(connect(port, tls=unknown))
    assert not await answers(connect(port, tls=ClientTls(server.cert_file)))


async def test_of_those_the_roots_signed_only_the_named_may_call(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    root, spiffe = make_identity(tmp_path, "root"), "spiffe://pool.test/agentgw"
    server = make_identity(tmp_path, "server", issuer=root)
    gateway = make_identity(tmp_path, "gateway", issuer=root, uris=[spiffe])
    worker = make_identity(tmp_path, "worker", issuer=root)
    other = make_identity(tmp_path, "other", issuer=root, uris=["spiffe://pool.test/other"])
    names = (spiffe, "worker.test")
    tls = TlsSettings(server.cert_file, server.key_file, root.cert_file, names)
    _, port = await start(tls=tls)

    def call_as(who: Any) -> Awaitable[bool]:
        channel = connect(port, tls=ClientTls(root.cert_file, who.cert_file, who.key_file))
        return answers(channel)

    assert await call_as(gateway)
    assert await call_as(worker)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call_as(other)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "the client's certificate bears no allowed name; it bears: 127.0.0.1, other.test,"
        " spiffe://pool.test/other",
    )


async def test_a_renewed_server_certificate_is_used_without_a_restart(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    former = make_identity(tmp_path, "server")
    _, port = await start(tls=TlsSettings(former.cert_file, former.key_file))
    assert await answers(connect(port, tls=ClientTls(ca_file=former.cert_file)))

    renewed = make_identity(tmp_path, "server")

    assert await answers(connect(port, tls=ClientTls(ca_file=renewed.cert_file)))


async def test_a_half_written_renewal_leaves_the_former_in_use(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    former, other = make_identity(tmp_path, "server"), make_identity(tmp_path, "other")
    roots = tmp_path / "roots"
    roots.write_bytes(former.cert_file.read_bytes())
    _, port = await start(tls=TlsSettings(former.cert_file, former.key_file))

    former.key_file.write_bytes(other.key_file.read_bytes())
    assert await answers(connect(port, tls=ClientTls(ca_file=roots)))

    former.cert_file.write_bytes(other.cert_file.read_bytes())
    assert not await answers(connect(port, tls=ClientTls(ca_file=roots)))
    assert await answers(connect(port, tls=ClientTls(ca_file=other.cert_file)))


@pytest.mark.parametrize("kept", [0, 0.5, 1.5])
async def test_roots_that_are_cut_off_leave_the_former_in_use(
    start: Start, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: float
) -> None:
    """Two certificates, of which so much was written: nothing, a part, the first and a part."""
    server, client = make_identity(tmp_path, "server"), make_identity(tmp_path, "client")
    bundle = server.cert_file.read_bytes()
    roots, client_roots = tmp_path / "roots", tmp_path / "client-roots"
    roots.write_bytes(bundle)
    client_roots.write_bytes(client.cert_file.read_bytes())
    tls = TlsSettings(server.cert_file, server.key_file, client_ca_file=client_roots)
    _, port = await start(tls=tls)
    channel = connect(port, tls=ClientTls(roots, client.cert_file, client.key_file))
    assert await answers(channel)

    for file in (roots, client_roots):
        whole = file.read_bytes()
        file.write_bytes((whole + whole)[: int(kept * len(whole))])
    for _ in range(3):
        assert await answers(channel)
    one_more = ClientTls(server.cert_file, client.cert_file, client.key_file)
    assert await answers(connect(port, tls=one_more))
    said = [line for line in caplog.records if "the former stays" in line.getMessage()]
    assert len(said) == 2


async def test_a_client_that_runs_takes_new_roots_and_a_new_certificate_of_its_own(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    async def name_of_client(request: Any, context: Any) -> Any:
        (uri,) = context.auth_context()["peer_spiffe_id"]
        return system_pb2.GetSystemResponse(version=uri.decode())

    root, server = make_identity(tmp_path, "root"), make_identity(tmp_path, "server")
    client = make_identity(tmp_path, "client", issuer=root, uris=["spiffe://test/0"])
    tls = TlsSettings(server.cert_file, server.key_file, client_ca_file=root.cert_file)
    _, port = await start(unary=name_of_client, tls=tls)
    channel = connect(port, tls=ClientTls(server.cert_file, client.cert_file, client.key_file))
    seen: list[str] = []

    for renewal in range(5):
        # The server is its own root: who has the former root alone cannot connect any more.
        make_identity(tmp_path, "server")
        make_identity(tmp_path, "client", issuer=root, uris=[f"spiffe://test/{renewal}"])
        stub = SystemServiceStub(channel)
        answer = await stub.GetSystem(system_pb2.GetSystemRequest(), timeout=10)
        seen.append(answer.version)

    assert seen == [f"spiffe://test/{renewal}" for renewal in range(5)]


async def test_a_former_connection_ends_with_its_last_call(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    """Or it would be made again and again, with what nobody trusts any more."""
    server, asked, answer = make_identity(tmp_path, "server"), asyncio.Event(), asyncio.Event()

    async def get_system(request: Any, context: Any) -> Any:
        if not asked.is_set():
            asked.set()
            await answer.wait()
        return system_pb2.GetSystemResponse()

    _, port = await start(unary=get_system, tls=TlsSettings(server.cert_file, server.key_file))
    async with fault_proxy(f"127.0.0.1:{port}") as proxy:
        proxy_port = int(proxy.address.rpartition(":")[2])
        channel = connect(proxy_port, tls=ClientTls(ca_file=server.cert_file))

        def hold(count: int) -> None:
            assert proxy.connections_count == count

        async with asyncio.TaskGroup() as group:
            slow = group.create_task(answers(channel))
            await asked.wait()
            make_identity(tmp_path, "server")
            assert await answers(channel)
            hold(2)
            answer.set()
            assert await slow
        await eventually(lambda: hold(1))

        make_identity(tmp_path, "server")
        assert await answers(channel)
        await eventually(lambda: hold(1))


async def test_a_stream_that_is_open_outlives_renewals_and_not_too_many_of_them(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    """Its reader hears of its end as of a call that was cancelled, though nobody cancelled it."""
    server, answered = make_identity(tmp_path, "server"), asyncio.Queue[str]()

    async def tick(request: Any, context: Any) -> AsyncGenerator[Any]:
        yield pools_pb2.WatchPoolsResponse()
        while True:
            word = await answered.get()
            yield pools_pb2.WatchPoolsResponse(pools=[pools_pb2.Pool(last_error=word)])

    _, port = await start(stream=tick, tls=TlsSettings(server.cert_file, server.key_file))
    channel = connect(port, tls=ClientTls(ca_file=server.cert_file))
    stream = PoolServiceStub(channel).WatchPools(pools_pb2.WatchPoolsRequest(), timeout=30)
    messages = aiter(stream)
    await anext(messages)

    for renewal in range(RETIRED_MAX):
        make_identity(tmp_path, "server")
        assert await answers(channel)
        answered.put_nowait(f"{renewal}")
        assert (await anext(messages)).pools[0].last_error == f"{renewal}"

    for _ in range(2):
        make_identity(tmp_path, "server")
        assert await answers(channel)
    with pytest.raises(asyncio.CancelledError):
        await anext(messages)
    assert not is_asked_to_end()


async def test_health_is_answered_without_tls_where_nothing_else_is(
    start: Start, tmp_path: Path
) -> None:
    server = make_identity(tmp_path, "server")
    running, _ = await start(
        tls=TlsSettings(server.cert_file, server.key_file), health_listen="127.0.0.1:0"
    )

    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.health_port}") as plain:
        check: Any = plain.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        ready = await check(health_pb2.HealthCheckRequest(), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SystemServiceStub(plain).GetSystem(
                system_pb2.GetSystemRequest(),
                timeout=10,
                metadata=(("authorization", "Bearer reader"),),
            )
        running.set_serving(False)
        draining = await check(health_pb2.HealthCheckRequest(), timeout=10)

    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert ready.status == health_pb2.HealthCheckResponse.SERVING
    assert draining.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_missing_file_is_one_clear_failure(start: Start, tmp_path: Path) -> None:
    missing = tmp_path / "missing.crt"

    with pytest.raises(StartFailed, match=r"^cannot read a TLS file: .*missing\.crt"):
        await start(tls=TlsSettings(missing, missing))
    with pytest.raises(StartFailed, match=r"^cannot read a TLS file: .*missing\.crt"):
        open_channel("https://127.0.0.1:1", token="t", tls=ClientTls(missing))


async def test_a_key_of_another_certificate_is_one_clear_failure(
    start: Start, tmp_path: Path
) -> None:
    server, other = make_identity(tmp_path, "server"), make_identity(tmp_path, "other")

    with pytest.raises(StartFailed, match=r"server\.crt with the key .*other\.key: "):
        await start(tls=TlsSettings(server.cert_file, other.key_file))
    with pytest.raises(StartFailed, match=r"server\.crt with the key .*other\.key: "):
        open_channel(
            "https://127.0.0.1:1",
            token="t",
            tls=ClientTls(None, server.cert_file, other.key_file),
        )
