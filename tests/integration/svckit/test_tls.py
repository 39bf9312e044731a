"""TLS from files: who trusts whom, and a certificate that is renewed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from svckit.channel import ClientTls
from svckit.errors import StartFailed
from svckit.server import GrpcServer, TlsSettings
from testkit.certificates import identity
from warmpool.control.v1 import system_pb2
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
    server, stranger = identity(tmp_path, "server"), identity(tmp_path, "stranger")
    _, port = await start(tls=TlsSettings(server.cert_file, server.key_file))

    assert await answers(connect(port, tls=ClientTls(ca_file=server.cert_file)))
    assert not await answers(connect(port, tls=ClientTls(ca_file=stranger.cert_file)))
    assert not await answers(connect(port))


async def test_with_client_roots_a_client_needs_a_certificate(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server, client = identity(tmp_path, "server"), identity(tmp_path, "client")
    _, port = await start(
        tls=TlsSettings(server.cert_file, server.key_file, client_ca_file=client.cert_file)
    )
    known = ClientTls(server.cert_file, client.cert_file, client.key_file)
    unknown = ClientTls(server.cert_file, server.cert_file, server.key_file)

    assert await answers(connect(port, tls=known))
    assert not await answers(connect(port, tls=unknown))
    assert not await answers(connect(port, tls=ClientTls(server.cert_file)))


async def test_a_renewed_certificate_is_used_without_a_restart(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    former = identity(tmp_path, "server")
    _, port = await start(tls=TlsSettings(former.cert_file, former.key_file))
    assert await answers(connect(port, tls=ClientTls(ca_file=former.cert_file)))

    renewed = identity(tmp_path, "server")
    for file in (renewed.cert_file, renewed.key_file):
        os.utime(file, ns=(10**18, 10**18))  # another time, however coarse the file system's clock

    assert await answers(connect(port, tls=ClientTls(ca_file=renewed.cert_file)))


async def test_a_missing_file_is_one_clear_failure(start: Start, tmp_path: Path) -> None:
    missing = tmp_path / "missing.crt"

    with pytest.raises(StartFailed, match=r"^cannot read a TLS file: .*missing\.crt"):
        await start(tls=TlsSettings(missing, missing))
