"""doctor looks at certificates of a real server, and at the files it was given."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from svckit.errors import Unauthenticated
from svckit.server import GrpcServer, TlsSettings
from testkit.certificates import Identity, make_identity
from warmpool_cli.checks.certificates import look_at_certificates
from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.connection import Connection

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)


class Nobody:
    """Lets nobody in: a handshake needs no call."""

    async def authorize(self, method: str, permission: str, token: str | None) -> object:
        raise Unauthenticated("nobody")


@asynccontextmanager
async def serve(identity: Identity, clients: Path | None = None) -> AsyncGenerator[str]:
    server = GrpcServer(
        "127.0.0.1:0", [], Nobody(), TlsSettings(identity.cert_file, identity.key_file, clients)
    )
    port = await server.start()
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def look(address: str, ca_file: Path | None, me: Identity | None = None) -> list[Finding]:
    connection = Connection(
        address=address,
        token="t",
        source="test",
        ca_file=ca_file,
        cert_file=me.cert_file if me else None,
        key_file=me.key_file if me else None,
    )
    return await look_at_certificates(connection, NOW)


async def test_good_ones_are_told_with_their_end_also_where_we_must_show_our_own(tmp_path: Path):
    root = make_identity(tmp_path, "root")
    server = make_identity(tmp_path, "server", issuer=root, end=NOW + timedelta(days=90, hours=1))
    me = make_identity(tmp_path, "me", issuer=root)
    async with serve(server, clients=root.cert_file) as address:
        found = await look(address, root.cert_file, me)

    assert [each.verdict for each in found] == [Verdict.OK] * 3
    assert found[-1].message.endswith("for 90 days")


async def test_one_that_ends_soon_is_a_warning(tmp_path: Path):
    root = make_identity(tmp_path, "root", end=NOW + timedelta(days=3))
    server = make_identity(tmp_path, "server", issuer=root, end=NOW + timedelta(days=9))
    async with serve(server) as address:
        found = await look(address, root.cert_file)

    assert [(each.name, each.verdict) for each in found] == [
        ("certificate", Verdict.WARN),
        ("server certificate", Verdict.WARN),
    ]


async def test_one_that_has_expired_or_is_a_strangers_is_a_failure(tmp_path: Path):
    root, stranger = make_identity(tmp_path, "root"), make_identity(tmp_path, "stranger")
    expired = make_identity(tmp_path, "server", issuer=root, end=NOW - timedelta(days=1))
    async with serve(expired) as address:
        (_, old) = await look(address, root.cert_file)
        (_, unknown) = await look(address, stranger.cert_file)

    assert (old.verdict, unknown.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert old.message.endswith("shows one that is not trusted: certificate has expired")
    assert old.fix
    assert "not trusted: unable to get local issuer certificate" in unknown.message


async def test_a_file_that_holds_none_is_a_failure(tmp_path: Path):
    (tmp_path / "empty.crt").write_text("nothing")

    found = await look("127.0.0.1:1", tmp_path / "empty.crt")

    assert [each.verdict for each in found] == [Verdict.FAIL, Verdict.FAIL]
    assert "(--ca-file) cannot be read" in found[0].message


async def test_without_tls_there_is_nothing_to_look_at():
    assert await look("http://127.0.0.1:1", None) == []
