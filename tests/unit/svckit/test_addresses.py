"""Addresses to listen on and to call, and the port file."""

from __future__ import annotations

from pathlib import Path

import pytest

from svckit.addresses import is_loopback, parse_listen, write_port_file
from svckit.channel import ClientTls, PlaintextRefused, open_channel


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_host_and_port(address: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(address) == parsed


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:x", "host:65536", "h:-1"])
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="allowed is host:port"):
        parse_listen(address)


@pytest.mark.parametrize(
    "address", ["", "host", "ftp://host:1", "http://host", "http://host:1/path", "host:99999"]
)
async def test_a_channel_needs_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match="allowed are host:port, http://host:port and https"):
        open_channel(address, token=None)


async def test_plaintext_contradicts_tls() -> None:
    with pytest.raises(ValueError, match="use https://"):
        open_channel("http://host:1", token=None, tls=ClientTls())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.7", False),
        ("reconciler", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_what_never_leaves_the_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize("address", ["reconciler:7080", "http://192.0.2.7:7080", "[2001:db8::1]:1"])
async def test_a_token_goes_nowhere_in_clear_unless_that_was_said(address: str) -> None:
    with pytest.raises(PlaintextRefused, match="the token would cross the network in clear"):
        open_channel(address, token="t")
    for channel in (
        open_channel(address, token="t", allow_plaintext=True),
        open_channel(address, token=None),
        open_channel("https://reconciler:1", token="t"),
    ):
        await channel.close()


def test_the_port_file_holds_the_port_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    write_port_file(tmp_path / "port", 1)
    write_port_file(tmp_path / "port", 4711)
    write_port_file(None, 1)

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"port": "4711\n"}
