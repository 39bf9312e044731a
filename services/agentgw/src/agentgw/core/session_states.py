"""The reinit session: one stream of one agent, as a table.

A session is registered, and thereby reached by hints, before durable state is read for it. It is
*due* while a read is owed to it, *reading* while a read that covers everything up to now is under
way, and *reading again* once something happened during that read, so that its result may be old: it
is trusted when it says that there is something to deliver, which no later moment takes back, and
otherwise repeated. A hint never delivers: it only makes a waiting session due.

The one ambiguous case is a session that ended during a read. The result finds it *ended*, where
everything is accepted and nothing has an effect.

Who causes what: hints, disturbances and the sweep nudge; the reader starts reads and tells; the
stream reports that the event was written, or closes because the peer went away, a newer session of
the same agent took over, or the gateway drains.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

__all__ = ["TRANSITIONS", "SessionEvent", "SessionState", "next_session_state"]


class SessionState(Enum):
    """Where a session stands."""

    DUE = auto()
    READING = auto()
    READING_AGAIN = auto()
    WAITING = auto()
    DELIVERING = auto()
    ENDED = auto()


class SessionEvent(Enum):
    """What can happen to a session."""

    NUDGED = auto()
    READ_STARTED = auto()
    READ_FAILED = auto()
    TOLD_TO_WAIT = auto()
    TOLD_TO_DELIVER = auto()
    TOLD_TO_END = auto()
    CLOSED = auto()


_S = SessionState
_E = SessionEvent

TRANSITIONS: Final[Mapping[SessionState, Mapping[SessionEvent, SessionState]]] = {
    _S.DUE: {
        _E.NUDGED: _S.DUE,
        _E.READ_STARTED: _S.READING,
        _E.CLOSED: _S.ENDED,
    },
    _S.READING: {
        _E.NUDGED: _S.READING_AGAIN,
        _E.READ_FAILED: _S.DUE,
        _E.TOLD_TO_WAIT: _S.WAITING,
        _E.TOLD_TO_DELIVER: _S.DELIVERING,
        _E.TOLD_TO_END: _S.ENDED,
        _E.CLOSED: _S.ENDED,
    },
    _S.READING_AGAIN: {
        _E.NUDGED: _S.READING_AGAIN,
        _E.READ_FAILED: _S.DUE,
        _E.TOLD_TO_WAIT: _S.DUE,
        _E.TOLD_TO_DELIVER: _S.DELIVERING,
        _E.TOLD_TO_END: _S.DUE,
        _E.CLOSED: _S.ENDED,
    },
    _S.WAITING: {
        _E.NUDGED: _S.DUE,
        _E.CLOSED: _S.ENDED,
    },
    _S.DELIVERING: {
        _E.NUDGED: _S.DELIVERING,
        _E.CLOSED: _S.ENDED,
    },
    _S.ENDED: {
        _E.NUDGED: _S.ENDED,
        _E.READ_FAILED: _S.ENDED,
        _E.TOLD_TO_WAIT: _S.ENDED,
        _E.TOLD_TO_DELIVER: _S.ENDED,
        _E.TOLD_TO_END: _S.ENDED,
        _E.CLOSED: _S.ENDED,
    },
}


def next_session_state(state: SessionState, event: SessionEvent) -> SessionState:
    """Where a session stands after an event. ValueError if the event cannot happen there."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"a session that is {state.name} cannot see {event.name}") from None
