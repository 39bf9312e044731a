"""Where the control plane is and who is asking.

Each setting is taken from the first place that has it: the flag, the environment, the file that
`warmpool up` writes. That file is `.warmpool/connection.json` in the working directory or the
nearest directory above it. It holds no secret, only the name of the token's file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from warmpool_cli.errors import AccessDenied, UsageInvalid

__all__ = [
    "CONNECTION_FILE",
    "STATE_DIRECTORY",
    "Connection",
    "ConnectionFile",
    "ConnectionFlags",
    "find_connection_file",
    "read_connection_file",
    "resolve_connection",
]

STATE_DIRECTORY = ".warmpool"
CONNECTION_FILE = "connection.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFlags:
    """What the command line said; empty means nothing."""

    address: str = ""
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A control plane to call. `ca_file` verifies an https address, None means the system's own;
    `cert_file` and `key_file` are what we show ourselves.
    """

    address: str
    token: str = field(repr=False)
    source: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    allow_plaintext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFile:
    """What `warmpool up` writes for the other commands. `token_file` is relative to the file."""

    address: str
    token_file: str
    agent_url: str = ""

    def encode(self) -> str:
        """The file's text."""
        content = {
            "version": FORMAT_VERSION,
            "address": self.address,
            "token_file": self.token_file,
            "agent_url": self.agent_url,
        }
        return json.dumps(content, indent=2) + "\n"


def find_connection_file(start: Path) -> Path | None:
    """The nearest connection file at or above a directory; None if there is none."""
    for directory in (start, *start.parents):
        candidate = directory / STATE_DIRECTORY / CONNECTION_FILE
        if candidate.is_file():
            return candidate
    return None


def read_connection_file(path: Path) -> ConnectionFile:
    """Reads a connection file, or raises UsageInvalid naming what is wrong with it."""
    fix = f"remove {path} and run `warmpool up` again, or give --address and --token-file"
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageInvalid(f"{path} cannot be read: {error}", fix) from error
    if not isinstance(content, dict):
        raise UsageInvalid(f"{path} holds no JSON object", fix)
    fields = cast("dict[str, object]", content)
    texts: dict[str, str] = {}
    for name in ("address", "token_file", "agent_url"):
        value = fields.get(name, "" if name == "agent_url" else None)
        if not isinstance(value, str):
            raise UsageInvalid(f"{path}: {name} must be a text, is {value!r}", fix)
        texts[name] = value
    return ConnectionFile(**texts)


def resolve_connection(
    flags: ConnectionFlags, environ: Mapping[str, str], directory: Path
) -> Connection:
    """The connection to use; raises UsageInvalid or AccessDenied if one cannot be made up."""
    path = find_connection_file(directory)
    stored = read_connection_file(path) if path else None
    address, source = _first(
        (flags.address, "--address"),
        (environ.get("WARMPOOL_ADDRESS", ""), "WARMPOOL_ADDRESS"),
        (stored.address if stored else "", str(path)),
    )
    if not address:
        raise UsageInvalid(
            f"no control plane is named: no --address, no WARMPOOL_ADDRESS, and no "
            f"{STATE_DIRECTORY}/{CONNECTION_FILE} in {directory} or above",
            "run `warmpool up` in another terminal, or give --address HOST:PORT",
        )
    return Connection(
        address=_checked_address(address, source),
        token=_find_token(flags, environ, path, stored, address),
        source=source,
        ca_file=_path(flags.ca_file, environ, "WARMPOOL_CA_FILE"),
        cert_file=_path(flags.cert_file, environ, "WARMPOOL_CERT_FILE"),
        key_file=_path(flags.key_file, environ, "WARMPOOL_KEY_FILE"),
        allow_plaintext=flags.allow_plaintext or _says_yes(environ, "WARMPOOL_ALLOW_PLAINTEXT"),
    )


def _path(flag: str, environ: Mapping[str, str], name: str) -> Path | None:
    value = flag or environ.get(name, "")
    return Path(value) if value else None


def _says_yes(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").lower()
    if value not in ("", "true", "false"):
        raise UsageInvalid(f"{name} is {value!r}", "set it to true or false")
    return value == "true"


def _find_token(
    flags: ConnectionFlags,
    environ: Mapping[str, str],
    path: Path | None,
    stored: ConnectionFile | None,
    address: str,
) -> str:
    if flags.token_file:
        return _read_token(Path(flags.token_file), "--token-file")
    if token := environ.get("WARMPOOL_TOKEN", "").strip():
        return token
    if named := environ.get("WARMPOOL_TOKEN_FILE", ""):
        return _read_token(Path(named), "WARMPOOL_TOKEN_FILE")
    if path and stored and stored.address == address:  # a token is for its own system only
        return _read_token(path.parent / stored.token_file, str(path))
    raise AccessDenied(
        f"no token for {address}",
        "give --token-file FILE, or set WARMPOOL_TOKEN or WARMPOOL_TOKEN_FILE",
    )


def _read_token(path: Path, source: str) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageInvalid(
            f"the token file {path} named by {source} cannot be read: {error}",
            "name a file that holds the token alone",
        ) from error
    if not token:
        raise UsageInvalid(
            f"the token file {path} named by {source} is empty",
            "name a file that holds the token alone",
        )
    return token


def _checked_address(address: str, source: str) -> str:
    bare = address.removeprefix("http://").removeprefix("https://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise UsageInvalid(
            f"the address {address!r} of {source} is not valid",
            "give HOST:PORT, http://HOST:PORT or https://HOST:PORT",
        )
    return address.rstrip("/")


def _first(*choices: tuple[str, str]) -> tuple[str, str]:
    return next(((value, source) for value, source in choices if value), ("", ""))
