"""What every bus promises, whatever carries it.

A bus carries hints: at most once, to whoever listens at that moment. Losing, repeating, delaying
or reordering a message must cost its reader nothing but latency, so every reader also looks at the
truth by itself. What a bus owes in return is honesty: whenever messages may have been lost, it
bumps `generation` and calls back, so that readers look again at once.

A subscription holds a bounded number of messages. When it is full the newest is dropped, counted,
and reported like a broken connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from bus.errors import MessageTooLarge, SubjectInvalid

__all__ = [
    "HEADERS_BYTES_MAX",
    "PAYLOAD_BYTES_MAX",
    "PENDING_MAX",
    "Bus",
    "Message",
    "Subscription",
    "check_message",
    "check_pattern",
    "check_subject",
    "matches",
]

PAYLOAD_BYTES_MAX: Final = 32_768  # a hint is a few identifiers; servers allow 64 KiB with headers
HEADERS_BYTES_MAX: Final = 4_096  # trace context
SUBJECT_LENGTH_MAX: Final = 255
PENDING_MAX: Final = 1_024

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received message."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Subscription(Protocol):
    """Messages of one subject pattern, in the order they arrived; iterate to receive them."""

    @property
    def dropped(self) -> int:
        """How many messages were lost because nobody took them in time."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Message: ...


class Bus(Protocol):
    """Publish and subscribe, at most once."""

    @property
    def connected(self) -> bool:
        """Whether messages can flow right now."""
        ...

    @property
    def generation(self) -> int:
        """Grows whenever messages may have been lost: after a reconnect and after every drop.

        Who publishes and needs to know that the bus took it compares the generation from before the
        first `publish` with the one after `flush`: only if both are equal did everything arrive.
        """
        ...

    async def publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Hands a message to the bus. No receipt: see `generation`.

        Raises BusUnavailable while disconnected, SubjectInvalid or MessageTooLarge.
        """
        ...

    async def flush(self) -> None:
        """Returns when the bus has everything published, and every subscription made, before.

        Raises BusUnavailable if it is disconnected, or was at any moment while flushing.
        """
        ...

    def subscribe(
        self, subject: str, *, queue: str | None = None, pending_max: int = PENDING_MAX
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listens while the context is open; with `queue`, one member of the group gets a message.

        Works while disconnected: it takes effect on connection. Leaving the context ends the
        iteration. Raises SubjectInvalid, or BusUnavailable once the bus is closed.
        """
        ...

    def on_disturbance(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back, briefly and without blocking, at every growth of `generation`.

        Returns what unregisters the callback.
        """
        ...

    async def close(self) -> None:
        """Ends every subscription and the connection; repeating it is harmless."""
        ...


def check_subject(subject: str) -> None:
    """Refuses what nobody should publish to: wildcards, empty tokens, odd characters."""
    if len(subject) > SUBJECT_LENGTH_MAX or not all(
        _TOKEN.fullmatch(token) for token in subject.split(".")
    ):
        raise SubjectInvalid(
            f"subject {subject[:80]!r}: must be tokens of letters, digits, '_' and '-' joined by"
            f" '.', at most {SUBJECT_LENGTH_MAX} characters"
        )


def check_pattern(pattern: str) -> None:
    """Refuses what nobody should listen to; `*` stands for one token, a last `>` for the rest."""
    tokens = pattern.split(".")
    literal = tokens[:-1] if tokens[-1] == ">" and len(tokens) > 1 else tokens
    if len(pattern) > SUBJECT_LENGTH_MAX or not all(
        token == "*" or _TOKEN.fullmatch(token) for token in literal
    ):
        raise SubjectInvalid(
            f"subject pattern {pattern[:80]!r}: must be tokens of letters, digits, '_' and '-', or"
            " '*', joined by '.'; the last may be '>'"
        )


def check_message(payload: bytes, headers: Mapping[str, str]) -> None:
    """Refuses what is too large for the bus, and headers that could be read as something else."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MessageTooLarge(
            f"payload of {len(payload)} bytes: at most {PAYLOAD_BYTES_MAX} are allowed"
        )
    size = sum(len(name) + len(value) for name, value in headers.items())
    if size > HEADERS_BYTES_MAX:
        raise MessageTooLarge(f"headers of {size} bytes: at most {HEADERS_BYTES_MAX} are allowed")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise SubjectInvalid(
                f"header {name[:80]!r}: names are letters, digits and '-', values printable ASCII"
            )


def matches(pattern: str, subject: str) -> bool:
    """Whether a message to `subject` is for who listens to `pattern`."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given) > index
        if index >= len(given) or token not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
