"""Flags before the environment before the file that `warmpool up` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmpool_cli.client import open_client
from warmpool_cli.connection import (
    Connection,
    ConnectionFile,
    ConnectionFlags,
    resolve_connection,
)
from warmpool_cli.errors import AccessDenied, UsageInvalid

pytestmark = pytest.mark.integration
NO_FLAGS = ConnectionFlags()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory in which `warmpool up` runs."""
    root = tmp_path / ".warmpool"
    (root / "secrets").mkdir(parents=True)
    (root / "secrets" / "owner-token").write_text("from-file\n")
    stored = ConnectionFile(address="127.0.0.1:7080", token_file="secrets/owner-token")
    (root / "connection.json").write_text(stored.encode())
    return tmp_path


def test_the_file_is_found_from_below(project: Path):
    below = project / "a" / "b"
    below.mkdir(parents=True)

    assert resolve_connection(NO_FLAGS, {}, below) == Connection(
        address="127.0.0.1:7080",
        token="from-file",
        source=str(project / ".warmpool" / "connection.json"),
    )


def test_the_environment_wins_over_the_file_and_a_flag_over_both(project: Path):
    environ = {"WARMPOOL_ADDRESS": "env:1", "WARMPOOL_TOKEN": "from-env"}
    (project / "token").write_text("from-flag")
    flags = ConnectionFlags(address="https://flag:2/", token_file=str(project / "token"))

    assert resolve_connection(NO_FLAGS, environ, project) == Connection(
        address="env:1", token="from-env", source="WARMPOOL_ADDRESS"
    )
    assert resolve_connection(flags, environ, project) == Connection(
        address="https://flag:2", token="from-flag", source="--address"
    )


def test_a_token_file_can_be_named_in_the_environment(tmp_path: Path):
    (tmp_path / "token").write_text(" t \n")
    environ = {"WARMPOOL_ADDRESS": "a:1", "WARMPOOL_TOKEN_FILE": str(tmp_path / "token")}

    assert resolve_connection(NO_FLAGS, environ, tmp_path).token == "t"


def test_a_local_token_is_not_sent_to_another_system(project: Path):
    with pytest.raises(AccessDenied):
        resolve_connection(ConnectionFlags(address="elsewhere:7080"), {}, project)


def test_the_token_is_not_in_the_connections_text(project: Path):
    assert "from-file" not in repr(resolve_connection(NO_FLAGS, {}, project))


@pytest.mark.parametrize("address", ["host", "host:", ":1", "host:0", "host:70000", "host:port"])
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path):
    with pytest.raises(UsageInvalid) as caught:
        resolve_connection(ConnectionFlags(address=address), {"WARMPOOL_TOKEN": "t"}, tmp_path)

    assert caught.value.cause == f"the address {address!r} of --address is not valid"


@pytest.mark.parametrize(
    "content", ["", "[]", json.dumps({"address": 1, "token_file": "t"}), json.dumps({})]
)
def test_a_file_that_is_not_one_is_named(project: Path, content: str):
    path = project / ".warmpool" / "connection.json"
    path.write_text(content)

    with pytest.raises(UsageInvalid) as caught:
        resolve_connection(NO_FLAGS, {}, project)

    assert caught.value.cause.startswith(str(path))


@pytest.mark.parametrize("content", [None, " \n"])
def test_a_token_file_without_a_token_is_named(project: Path, content: str | None):
    path = project / ".warmpool" / "secrets" / "owner-token"
    path.unlink()
    if content is not None:
        path.write_text(content)

    with pytest.raises(UsageInvalid) as caught:
        resolve_connection(NO_FLAGS, {}, project)

    assert str(path) in caught.value.cause


def test_certificates_are_named_by_flag_or_environment(project: Path):
    environ = {"WARMPOOL_CA_FILE": "env.crt", "WARMPOOL_KEY_FILE": "env.key"}
    flags = ConnectionFlags(ca_file="flag.crt", cert_file="mine.crt")

    found = resolve_connection(flags, environ, project)

    assert (found.ca_file, found.cert_file, found.key_file) == (
        Path("flag.crt"),
        Path("mine.crt"),
        Path("env.key"),
    )


@pytest.mark.parametrize("address", ["control.test:7080", "http://192.0.2.7:7080"])
async def test_a_token_leaves_the_machine_in_clear_only_if_that_was_said(
    tmp_path: Path, address: str
):
    (tmp_path / "token").write_text("secret")
    flags = ConnectionFlags(address=address, token_file=str(tmp_path / "token"))
    said = {"WARMPOOL_ALLOW_PLAINTEXT": "true"}

    with pytest.raises(UsageInvalid) as caught:
        async with open_client(resolve_connection(flags, {}, tmp_path)):
            pass
    async with open_client(resolve_connection(flags, said, tmp_path)) as client:
        assert client.address == address

    assert caught.value.cause == (
        f"{address} is on another machine and not encrypted: the token would cross the network in"
        " clear"
    )
    assert "--allow-plaintext" in caught.value.fix


def test_a_permission_that_cannot_be_read_is_none(project: Path):
    with pytest.raises(UsageInvalid, match="WARMPOOL_ALLOW_PLAINTEXT"):
        resolve_connection(NO_FLAGS, {"WARMPOOL_ALLOW_PLAINTEXT": "yes"}, project)
