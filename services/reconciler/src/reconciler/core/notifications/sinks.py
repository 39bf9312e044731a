"""What a sink is to the rest: it is given a message, and says what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias
from uuid import UUID

from reconciler.core.notifications.fanout import Target

__all__ = ["Accepted", "Message", "Outcome", "Refused", "Sink", "Unaddressed", "Unreached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. `id` is the same at each attempt, so that a receiver can tell a repetition.
    `username` and `email` are empty for a sink of the installation.
    """

    id: UUID
    kind: str
    subject: str
    body: str
    organization: str
    created_at: datetime
    username: str = ""
    email: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will never take this message."""

    error: str


@dataclass(frozen=True, slots=True)
class Unreached:
    """The receiver could not be asked, or not now. `brief` is what everybody may read of `error`;
    empty means all of it.
    """

    error: str
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Unaddressed:
    """There is nobody to send it to any more. The receiver was not asked."""

    reason: str


Outcome: TypeAlias = Accepted | Refused | Unreached | Unaddressed


class Sink(Protocol):
    """Where messages go. Nothing it says or raises holds a secret."""

    @property
    def target(self) -> Target:
        """Which one it is."""
        ...

    async def send(self, message: Message) -> Outcome:
        """Sends once. Whoever calls it sets the time limit."""
        ...
