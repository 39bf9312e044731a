"""Options that several commands share, and the values they are read into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from warmpool.common.v1.types_pb2 import ParameterValue
from warmpool_cli.errors import UsageInvalid

__all__ = ["NoWait", "Organization", "Timeout", "read_pairs", "read_parameters"]

Organization = Annotated[
    str, typer.Option("--organization", help='The organization; empty means "default".')
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once it is queued.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1.0, help="How long to wait at most.")
]


def read_pairs(flag: str, values: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; raises UsageInvalid naming the flag."""
    pairs: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (equals and name):
            raise UsageInvalid(f"{flag} {text!r} is not NAME=VALUE", f"give {flag} NAME=VALUE")
        if name in pairs:
            raise UsageInvalid(f"{flag} {name} is given twice", "give each name once")
        pairs[name] = value
    return pairs


def read_parameters(values: Iterable[str]) -> list[ParameterValue]:
    """`-p NAME=VALUE` texts as parameter values."""
    pairs = read_pairs("--parameter", values)
    return [ParameterValue(name=name, value=value) for name, value in pairs.items()]
