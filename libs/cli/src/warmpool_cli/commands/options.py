"""Options that several commands share, and the values they are read into."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import typer

from warmpool.common.v1.types_pb2 import ParameterValue
from warmpool_cli.errors import UsageInvalid

__all__ = [
    "NoWait",
    "Organization",
    "SecretFile",
    "Timeout",
    "read_limit",
    "read_pairs",
    "read_parameters",
    "read_span",
]

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Organization = Annotated[
    str, typer.Option("--organization", help='The organization; empty means "default".')
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once it is queued.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1.0, help="How long to wait at most.")
]
SecretFile = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="Write the secret to this new file, for you alone, instead of showing it.",
    ),
]


def read_span(flag: str, text: str) -> int:
    """A span such as 90s, 15m, 12h or 7d in seconds, 0 for none; raises UsageInvalid."""
    if not text:
        return 0
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageInvalid(
            f"{flag} {text!r} is not a span of time", f"give {flag} 90s, 15m, 12h or 7d"
        )
    return int(match[1]) * _SECONDS[match[2]]


def read_limit(flag: str, text: str) -> int:
    """A span in seconds, 0 for the word "never"; raises UsageInvalid."""
    if text == "never":
        return 0
    if not text:
        raise UsageInvalid(f"{flag} is empty", f'give {flag} 90s, 15m, 12h or 7d, or "never"')
    return read_span(flag, text)


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
