"""All sessions of this gateway, and what is owed to each.

The book guarantees, to promise 2: once a session is in it, every nudge leads to a read that begins
after the nudge, or to the session's end. It also keeps one live session per agent, the newest.

A session's workspace is not known before its first read, since agents are named by their token
alone. So a read remembers which workspaces were hinted at while it was under way; a result for one
of them counts as read too early.

Reads come in two lanes: urgent for sessions that a hint was for, ordinary for new sessions, sweeps
and disturbances, so that a storm of the latter does not delay the former.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from agentgw.core.session_states import SessionEvent, SessionState, next_session_state
from agentgw.core.verdicts import (
    Acknowledge,
    AgentCheck,
    Answer,
    Deliver,
    Refuse,
    Wait,
    decide_answer,
)

__all__ = ["HINTS_DURING_READ_MAX", "READ_AGENTS_MAX", "Lane", "Read", "SessionBook", "Told"]

READ_AGENTS_MAX: Final = 2_000  # as many as one CheckAgents takes
HINTS_DURING_READ_MAX: Final = 10_000  # beyond that, the whole read counts as too early


class Lane(Enum):
    """How soon a session is to be read."""

    URGENT = auto()
    ORDINARY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A read to be made: ask for these tokens, in this order."""

    read_id: int
    session_keys: tuple[int, ...]
    token_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a read means for one session. `is_first` if it is the first answer it gets."""

    session_key: int
    agent_id: str
    workspace_id: str
    answer: Answer
    is_first: bool


@dataclass(slots=True)
class _Entry:
    token_hash: bytes
    last_applied_claim_id: str
    state: SessionState = SessionState.DUE
    workspace_id: str = ""
    is_answered: bool = False


@dataclass(slots=True)
class _ReadUnderWay:
    session_keys: tuple[int, ...]
    hinted: set[str] = field(default_factory=set[str])
    is_overrun: bool = False


class SessionBook:
    """Pure: changes only when told, and knows no clock but the times it is given."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._by_token: dict[bytes, int] = {}
        self._by_workspace: dict[str, set[int]] = {}
        self._due: dict[Lane, OrderedDict[int, None]] = {lane: OrderedDict() for lane in Lane}
        self._waiting: OrderedDict[int, float] = OrderedDict()  # read at, oldest first
        self._reads: dict[int, _ReadUnderWay] = {}
        self._next_key = 1
        self._next_read_id = 1

    @property
    def session_count(self) -> int:
        """How many sessions live."""
        return len(self._entries)

    @property
    def waiting_count(self) -> int:
        """How many of them were told to wait and are owed nothing."""
        return len(self._waiting)

    def count_due(self, lane: Lane) -> int:
        """How many are owed a read that has not begun."""
        return len(self._due[lane])

    def is_open(self, token_hash: bytes) -> bool:
        """Whether the agent with this token has a live session."""
        return token_hash in self._by_token

    def list_sessions(self) -> tuple[int, ...]:
        """The keys of all live sessions, oldest first."""
        return tuple(self._entries)

    def open(self, token_hash: bytes, *, last_applied_claim_id: str) -> tuple[int, int | None]:
        """Registers a session. Returns its key, and that of the session it takes over from."""
        superseded = self._by_token.get(token_hash)
        if superseded is not None:
            self.close(superseded)
        key = self._next_key
        self._next_key += 1
        self._entries[key] = _Entry(token_hash, last_applied_claim_id)
        self._by_token[token_hash] = key
        self._due[Lane.ORDINARY][key] = None
        return key, superseded

    def close(self, session_key: int) -> None:
        """Forgets a session; repeating it is harmless."""
        entry = self._entries.pop(session_key, None)
        if entry is None:
            return
        entry.state = next_session_state(entry.state, SessionEvent.CLOSED)
        if self._by_token.get(entry.token_hash) == session_key:
            del self._by_token[entry.token_hash]
        self._unbind(session_key, entry)
        self._waiting.pop(session_key, None)
        for due in self._due.values():
            due.pop(session_key, None)

    def begin_read(self, lane: Lane, *, agents_max: int = READ_AGENTS_MAX) -> Read | None:
        """Starts a read for who is due, in the order they became so; None if nobody is."""
        due = self._due[lane]
        if not due:
            return None
        keys: list[int] = []
        while due and len(keys) < agents_max:
            key, _ = due.popitem(last=False)
            entry = self._entries[key]
            entry.state = next_session_state(entry.state, SessionEvent.READ_STARTED)
            keys.append(key)
        read_id = self._next_read_id
        self._next_read_id += 1
        self._reads[read_id] = _ReadUnderWay(tuple(keys))
        return Read(
            read_id=read_id,
            session_keys=tuple(keys),
            token_hashes=tuple(self._entries[key].token_hash for key in keys),
        )

    def fail_read(self, read_id: int) -> None:
        """The read brought nothing: its sessions are due again."""
        for key in self._reads.pop(read_id).session_keys:
            entry = self._entries.get(key)
            if entry is not None:
                self._advance(key, entry, SessionEvent.READ_FAILED, Lane.ORDINARY)

    def finish_read(
        self, read_id: int, checks: Sequence[AgentCheck], *, now_seconds: float
    ) -> tuple[Told, ...]:
        """Takes in what a read found, one check per session, in order.

        Returns what the sessions that still live are told. Sessions whose result may be old are
        told nothing and are due again. ValueError if the number of checks is not that of sessions.
        """
        read = self._reads[read_id]
        if len(checks) != len(read.session_keys):
            raise ValueError(f"{len(checks)} checks for {len(read.session_keys)} agents")
        del self._reads[read_id]
        told: list[Told] = []
        for key, check in zip(read.session_keys, checks, strict=True):
            entry = self._entries.get(key)
            if entry is None:
                continue
            if read.is_overrun or check.workspace_id in read.hinted:
                entry.state = next_session_state(entry.state, SessionEvent.NUDGED)
            self._bind(key, entry, check.workspace_id)
            answer = decide_answer(check, last_applied_claim_id=entry.last_applied_claim_id)
            self._advance(key, entry, _event_of(answer), Lane.URGENT, now_seconds=now_seconds)
            if entry.state is SessionState.DUE:
                continue
            told.append(
                Told(
                    session_key=key,
                    agent_id=check.agent_id,
                    workspace_id=check.workspace_id,
                    answer=answer,
                    is_first=not entry.is_answered,
                )
            )
            entry.is_answered = True
            if entry.state is SessionState.ENDED:
                self.close(key)
        return tuple(told)

    def hint(self, workspace_id: str) -> int:
        """Something may have happened to a workspace. Returns how many sessions it has here."""
        for read in self._reads.values():
            if len(read.hinted) < HINTS_DURING_READ_MAX:
                read.hinted.add(workspace_id)
            else:
                read.is_overrun = True
        keys = self._by_workspace.get(workspace_id, ())
        for key in keys:
            self._advance(key, self._entries[key], SessionEvent.NUDGED, Lane.URGENT)
            if key in self._due[Lane.ORDINARY]:
                del self._due[Lane.ORDINARY][key]
                self._due[Lane.URGENT][key] = None
        return len(keys)

    def nudge(self, token_hash: bytes) -> None:
        """Something has happened to this agent."""
        key = self._by_token.get(token_hash)
        if key is not None:
            self._advance(key, self._entries[key], SessionEvent.NUDGED, Lane.URGENT)

    def hint_all(self) -> None:
        """Anything may have happened: hints were lost."""
        for key, entry in self._entries.items():
            self._advance(key, entry, SessionEvent.NUDGED, Lane.ORDINARY)

    def sweep(self, *, read_before_seconds: float) -> int:
        """Makes due who was last read at that time or before. Returns how many."""
        count = 0
        while self._waiting:
            key, read_at = next(iter(self._waiting.items()))
            if read_at > read_before_seconds:
                break
            self._advance(key, self._entries[key], SessionEvent.NUDGED, Lane.ORDINARY)
            count += 1
        return count

    def _advance(
        self,
        key: int,
        entry: _Entry,
        event: SessionEvent,
        lane: Lane,
        *,
        now_seconds: float = 0.0,
    ) -> None:
        before = entry.state
        entry.state = next_session_state(before, event)
        if before is entry.state:
            return
        if before is SessionState.WAITING:
            del self._waiting[key]
        if entry.state is SessionState.DUE:
            self._due[lane][key] = None
        elif entry.state is SessionState.WAITING:
            self._waiting[key] = now_seconds

    def _bind(self, key: int, entry: _Entry, workspace_id: str) -> None:
        if workspace_id != entry.workspace_id:
            self._unbind(key, entry)
            entry.workspace_id = workspace_id
            if workspace_id:
                self._by_workspace.setdefault(workspace_id, set()).add(key)

    def _unbind(self, key: int, entry: _Entry) -> None:
        keys = self._by_workspace.get(entry.workspace_id)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._by_workspace[entry.workspace_id]


def _event_of(answer: Answer) -> SessionEvent:
    match answer:
        case Wait() | Acknowledge():
            return SessionEvent.TOLD_TO_WAIT
        case Deliver():
            return SessionEvent.TOLD_TO_DELIVER
        case Refuse():
            return SessionEvent.TOLD_TO_END
