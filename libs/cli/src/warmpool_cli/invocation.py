"""How a command is declared, and what it is given.

A command is an async function whose first argument is its `Invocation`; the rest are its own
options, declared as Typer wants them. `add_command` adds the options every command has, so that
they are spelled once and are the same everywhere.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from svckit.system import Clock, SystemClock
from warmpool_cli.client import Client, open_client
from warmpool_cli.connection import ConnectionFlags, resolve_connection
from warmpool_cli.output import Output, OutputFormat

__all__ = ["Invocation", "add_command"]

P = ParamSpec("P")
Command = Callable[Concatenate["Invocation", P], Coroutine[Any, Any, None]]

_OUTPUT = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="Tables for people, or JSON for programs."),
]
_ADDRESS = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The control plane. Else WARMPOOL_ADDRESS, else what `warmpool up` wrote.",
        rich_help_panel="Connection",
    ),
]
_TOKEN_FILE = Annotated[
    str,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with your token. Else WARMPOOL_TOKEN, else WARMPOOL_TOKEN_FILE.",
        rich_help_panel="Connection",
    ),
]
_CA_FILE = Annotated[
    str,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="Certificates that verify an https address. Else WARMPOOL_CA_FILE.",
        rich_help_panel="Connection",
    ),
]
_CERT_FILE = Annotated[
    str,
    typer.Option(
        "--cert-file",
        metavar="FILE",
        help="Your own certificate, where one is asked for. Else WARMPOOL_CERT_FILE.",
        rich_help_panel="Connection",
    ),
]
_KEY_FILE = Annotated[
    str,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="The key of your certificate. Else WARMPOOL_KEY_FILE.",
        rich_help_panel="Connection",
    ),
]
_ALLOW_PLAINTEXT = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext",
        help="Send your token to another machine without TLS, where something else encrypts."
        " Else WARMPOOL_ALLOW_PLAINTEXT=true.",
        rich_help_panel="Connection",
    ),
]
_SHARED: tuple[tuple[str, object, object], ...] = (
    ("output_format", _OUTPUT, OutputFormat.TEXT),
    ("connection_address", _ADDRESS, ""),
    ("connection_token_file", _TOKEN_FILE, ""),
    ("connection_ca_file", _CA_FILE, ""),
    ("connection_cert_file", _CERT_FILE, ""),
    ("connection_key_file", _KEY_FILE, ""),
    ("connection_allow_plaintext", _ALLOW_PLAINTEXT, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of one command: where it prints, whom it calls, what time it is."""

    output: Output
    connection_flags: ConnectionFlags = field(default_factory=ConnectionFlags)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    directory: Path = field(default_factory=Path.cwd)
    clock: Clock = field(default_factory=SystemClock)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """The control plane; errors as `resolve_connection` and `open_client` raise them."""
        connection = resolve_connection(self.connection_flags, self.environ, self.directory)
        async with open_client(connection) as client:
            yield client


def add_command(
    app: typer.Typer, name: str, *, connects: bool = True
) -> Callable[[Command[P]], Command[P]]:
    """Registers an async function as a command with the shared options.

    A command that does not connect gets `--output` alone. The registered function returns the
    coroutine; `main` awaits it.
    """

    def register(function: Command[P]) -> Command[P]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        shared = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
            )
            for key, annotation, default in (_SHARED if connects else _SHARED[:1])
        ]

        def call(**values: Any) -> Coroutine[Any, Any, None]:
            invocation = Invocation(
                output=Output(values.pop("output_format"), sys.stdout),
                connection_flags=ConnectionFlags(
                    address=values.pop("connection_address", ""),
                    token_file=values.pop("connection_token_file", ""),
                    ca_file=values.pop("connection_ca_file", ""),
                    cert_file=values.pop("connection_cert_file", ""),
                    key_file=values.pop("connection_key_file", ""),
                    allow_plaintext=values.pop("connection_allow_plaintext", False),
                ),
            )
            return function(invocation, **values)  # pyright: ignore[reportCallIssue]

        call.__doc__ = function.__doc__
        call.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared
        )
        call.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
        app.command(name)(call)
        return function

    return register
