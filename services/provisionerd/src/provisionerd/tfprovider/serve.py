"""Serves the provider to one Terraform run, in this process, on a unix socket of its own.

Promises: the socket is in a directory only we can enter, and is gone afterwards; closing waits
for no one (Terraform has exited by then, or is being ended). Plain text is safe here because the
file system is the lock.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.dice import SystemDice
from provisionerd.tfprovider.kinds import Dice
from provisionerd.tfprovider.protocol.tfplugin5_pb2_grpc import add_ProviderServicer_to_server
from provisionerd.tfprovider.servicer import TerraformProvider

__all__ = ["SOCKET_NAME", "Reattach", "build_server", "serve_provider"]

# Terraform itself sends and takes up to 256 MiB; templates with large scripts reach a few.
_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
)
_SOCKET_PATH_BYTES_MAX = 100  # sockaddr_un holds 104 (macOS) to 108 (Linux), with a final zero
SOCKET_NAME = "coder.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reattach:
    """How Terraform finds a served provider: put `env` into its environment."""

    socket: Path
    env: Mapping[str, str]


@asynccontextmanager
async def serve_provider(
    context: ProviderContext, socket_dir: Path, *, dice: Dice | None = None
) -> AsyncGenerator[Reattach]:
    """Serves one build's values as `coder/coder` until the block is left.

    `socket_dir` is made (0700) if missing. If its path is too long for a socket, the socket goes to
    a private temporary directory instead. `dice` makes ids and tokens; real ones unless given.
    """
    place = _prepare_place(socket_dir)
    socket = place / SOCKET_NAME
    server = build_server(context, dice or SystemDice(), socket)
    try:
        await server.start()
        yield Reattach(socket=socket, env={"TF_REATTACH_PROVIDERS": describe_reattach(socket)})
    finally:
        await server.stop(None)
        _clear_place(place, socket_dir)


def build_server(context: ProviderContext, dice: Dice, socket: Path) -> grpc.aio.Server:
    """A server of one build's values on a socket, not started yet."""
    server = grpc.aio.server(options=_SERVER_OPTIONS)
    add_ProviderServicer_to_server(TerraformProvider(context, dice), server)
    server.add_insecure_port(f"unix:{socket}")
    return server


def _prepare_place(socket_dir: Path) -> Path:
    socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket_dir.chmod(0o700)
    place = socket_dir.absolute()
    if len(os.fsencode(place / SOCKET_NAME)) > _SOCKET_PATH_BYTES_MAX:
        place = Path(tempfile.mkdtemp(prefix="wp-"))
    return place


def _clear_place(place: Path, socket_dir: Path) -> None:
    (place / SOCKET_NAME).unlink(missing_ok=True)
    if place != socket_dir.absolute():
        shutil.rmtree(place, ignore_errors=True)


def describe_reattach(socket: Path) -> str:
    """The value of TF_REATTACH_PROVIDERS. The short name serves Terraform and OpenTofu alike;
    `Test` keeps them from ending our process.
    """
    return json.dumps(
        {
            "coder/coder": {
                "Protocol": "grpc",
                "ProtocolVersion": 5,
                "Pid": os.getpid(),
                "Test": True,
                "Addr": {"Network": "unix", "String": str(socket)},
            }
        }
    )
