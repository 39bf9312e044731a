"""`terraform-provider-coder`: the provider outside provisionerd, for people who write templates.

    terraform-provider-coder -- terraform plan     serves itself to the command (recommended)
    TF_DISABLE_PLUGIN_TLS=1 terraform plan         Terraform starts it (a mirror or dev override)

Values come from CODER_* variables; whatever is not set has upstream's placeholder. Promises:
nothing but the handshake, or why there is none, reaches standard output; it ends when Terraform
says so, is gone, or on SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio

from provisionerd.tfprovider.dice import SystemDice
from provisionerd.tfprovider.environ import EnvironmentInvalid, read_context
from provisionerd.tfprovider.serve import SOCKET_NAME, build_server, serve_provider

__all__ = ["main"]

# what Terraform sets so that plugins notice when a person starts them instead
_COOKIE = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
)
_PARENT_CHECK_SECONDS = 5.0
_USAGE = """\
This is the Terraform provider coder/coder. Terraform starts it, or it serves one command:

    terraform-provider-coder -- terraform plan

CODER_* environment variables say which workspace, owner and parameters the template sees."""


def main() -> int:
    """The console script."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["--"] and arguments[1:]:
            return asyncio.run(_serve_command(arguments[1:]))
        complaint = _check_handshake()
        if complaint is None:
            asyncio.run(_serve_parent())
            return 0
    except EnvironmentInvalid as error:
        complaint = str(error)
    # Terraform shows a person what it took for a handshake, and hides what goes to standard error
    print(complaint, file=sys.stdout if _is_started_by_terraform() else sys.stderr)
    return 1


def _is_started_by_terraform() -> bool:
    name, value = _COOKIE
    return os.environ.get(name) == value


def _check_handshake() -> str | None:
    if not _is_started_by_terraform():
        return _USAGE
    if "5" not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "5").split(","):
        return "This provider speaks plugin protocol 5, which this Terraform does not."
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        return "This provider is served without TLS: set TF_DISABLE_PLUGIN_TLS=1 for Terraform."
    return None


async def _serve_command(command: Sequence[str]) -> int:
    """Serves one command, and returns its exit code."""
    context = read_context(os.environ)
    with tempfile.TemporaryDirectory(prefix="wp-") as scratch:
        async with serve_provider(context, Path(scratch)) as reattach:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command, env={**os.environ, **reattach.env}
                )
            except OSError as error:
                print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
                return 127
            _leave_signals_to(process)
            return await process.wait()


def _leave_signals_to(process: asyncio.subprocess.Process) -> None:
    """Ctrl-C reaches the command by itself; a SIGTERM is passed on. We serve until it ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)


async def _serve_parent() -> None:
    """Serves the Terraform that started us."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Terraform decides, and says Shutdown
    loop.add_signal_handler(signal.SIGTERM, over.set)
    with tempfile.TemporaryDirectory(prefix="wp-") as scratch:
        socket = Path(scratch) / SOCKET_NAME
        server = build_server(read_context(os.environ), SystemDice(), socket)
        server.add_generic_rpc_handlers((_controller(over),))
        await server.start()
        print(f"1|5|unix|{socket}|grpc|", flush=True)
        await _wait_for_end(over)
        await server.stop(None)


async def _wait_for_end(over: asyncio.Event) -> None:
    parent = os.getppid()
    while not over.is_set() and os.getppid() == parent:
        try:
            async with asyncio.timeout(_PARENT_CHECK_SECONDS):
                await over.wait()
        except TimeoutError:
            continue


def _controller(over: asyncio.Event) -> grpc.GenericRpcHandler:
    async def shut_down(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        del request, context
        over.set()
        return b""

    return grpc.method_handlers_generic_handler(
        "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shut_down)}
    )


if __name__ == "__main__":
    sys.exit(main())
