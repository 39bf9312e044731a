"""What the agent does about each thing a reinit stream can say, as a table. Pure.

A stream says one frame at a time and then ends with a status. A *decision* is one of four:

| heard | decision |
|---|---|
| heartbeat, or a frame of a newer gateway | read on |
| reinit event | deliver it, once |
| reconnect frame | open a new stream after the time it names; not a failure |
| no frame for twice the heartbeat interval | the connection is dead: ask again |
| a definitive status (`SETTLED`) | never ask again, keep running |
| any other status (`PACES`) | ask again: fast if waiting may help, else slowly |

Nothing but a definitive status ever ends the asking: an unknown code or reason of a newer gateway
must not strand a claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = [
    "PACES",
    "SETTLED",
    "AskAgain",
    "Decision",
    "Deliver",
    "Frame",
    "Heard",
    "Heartbeat",
    "OpenAnother",
    "Pace",
    "ReadOn",
    "Reconnect",
    "ReinitEvent",
    "ReinitSettled",
    "StreamEnded",
    "StreamSilent",
    "UnknownFrame",
    "decide",
    "is_worth_repeating",
]


# --- What is heard ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The stream lives; the next frame comes within this time."""

    interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinitEvent:
    """The workspace has a new owner."""

    workspace_id: str
    owner_id: str
    reason: str
    claim_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """The gateway goes away and asks for a new stream after this time."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class UnknownFrame:
    """A frame this release does not know."""


Frame = Heartbeat | ReinitEvent | Reconnect | UnknownFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """The stream ended with a status; code "OK" if it ended normally without an event."""

    code: str
    reason: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StreamSilent:
    """No frame within twice the announced interval."""


Heard = Frame | StreamEnded | StreamSilent


# --- What is decided -------------------------------------------------------------------------


class Pace(Enum):
    """How soon asking again may help."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class ReadOn:
    """Read the next frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """Give the event to the agent, and close the stream."""

    event: ReinitEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAnother:
    """Open a new stream after this time; it is no failure and resets the backoff."""

    after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAgain:
    """Open a new stream after a jittered wait of this pace, but not before the time named."""

    pace: Pace
    not_before_seconds: float = 0.0
    alive: bool = False
    """True if the gateway knows this agent, so it should hear signs of life in the meantime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinitSettled:
    """Nothing will come any more; keep running."""

    reason: str


Decision = ReadOn | Deliver | OpenAnother | AskAgain | ReinitSettled


SETTLED: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("FAILED_PRECONDITION", "NOT_A_PREBUILD"),
        ("FAILED_PRECONDITION", "CLAIM_ALREADY_APPLIED"),
    }
)
"""The only answers after which the agent stops asking."""

PACES: Final[Mapping[str, Pace]] = {
    # Waiting may help: the network, a restart, a drain, a busy gateway.
    "OK": Pace.FAST,
    "CANCELLED": Pace.FAST,
    "UNKNOWN": Pace.FAST,
    "DEADLINE_EXCEEDED": Pace.FAST,
    "RESOURCE_EXHAUSTED": Pace.FAST,
    "INTERNAL": Pace.FAST,
    "UNAVAILABLE": Pace.FAST,
    "DATA_LOSS": Pace.FAST,
    # Somebody must act first: build again, replace a token, upgrade a gateway, end a twin of ours.
    "FAILED_PRECONDITION": Pace.SLOW,
    "UNAUTHENTICATED": Pace.SLOW,
    "PERMISSION_DENIED": Pace.SLOW,
    "INVALID_ARGUMENT": Pace.SLOW,
    "NOT_FOUND": Pace.SLOW,
    "ALREADY_EXISTS": Pace.SLOW,
    "ABORTED": Pace.SLOW,
    "OUT_OF_RANGE": Pace.SLOW,
    "UNIMPLEMENTED": Pace.SLOW,
}
"""How soon a call that ended with each status code may help if repeated."""

_REFUSED: Final[frozenset[str]] = frozenset(
    {
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
    }
)


def decide(heard: Heard, *, was_accepted: bool) -> Decision:
    """The decision about one thing heard. `was_accepted`: the gateway has accepted this run's token
    before; until then the build that made the token may not be committed yet, which takes moments.
    """
    match heard:
        case Heartbeat() | UnknownFrame():
            return ReadOn()
        case ReinitEvent(claim_id=""):
            return AskAgain(pace=Pace.SLOW)  # nothing to acknowledge: not an event of this protocol
        case ReinitEvent():
            return Deliver(event=heard)
        case Reconnect():
            return OpenAnother(after_seconds=heard.after_seconds)
        case StreamSilent():
            return AskAgain(pace=Pace.FAST)
        case StreamEnded():
            return _decide_end(heard, was_accepted)


def _decide_end(ended: StreamEnded, was_accepted: bool) -> Decision:
    if (ended.code, ended.reason) in SETTLED:
        return ReinitSettled(reason=ended.reason)
    pace = PACES.get(ended.code, Pace.SLOW)
    if ended.code == "UNAUTHENTICATED" and not was_accepted:
        pace = Pace.FAST
    return AskAgain(
        pace=pace,
        not_before_seconds=max(0.0, ended.retry_after_seconds or 0.0),
        alive=ended.code == "FAILED_PRECONDITION",
    )


def is_worth_repeating(code: str) -> bool:
    """True if a report that failed with this code may be accepted later as it is."""
    return code not in _REFUSED
