"""The live sessions of this process: the book of what is owed to each, and their streams.

Opening a session registers it with the fan-out of hints before anything is read for it; from then
on, everything that concerns it goes through the book, which decides when it is read and what it is
told. Liveness follows from it: an agent whose token is known counts as connected while it holds a
session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from agentgw.core.admission import Admission, Refused
from agentgw.core.frames import Heartbeat, Reconnect, Superseded
from agentgw.core.heartbeats import HeartbeatPace, HeartbeatWheel
from agentgw.core.liveness import LivenessBook
from agentgw.core.records import Phase, ReinitRecord
from agentgw.core.session_book import Lane, Read, SessionBook, Told
from agentgw.core.told_claims import ToldClaims
from agentgw.core.unknown_tokens import UnknownTokens
from agentgw.core.verdicts import Acknowledge, AgentCheck, Deliver, RefusalReason, Refuse, Wait
from agentgw.store.metrics import GatewayMetrics
from agentgw.store.records import PendingRecords
from agentgw.store.session import Session, name_of_end
from svckit.errors import Unavailable
from svckit.nudge import Nudge
from svckit.system import Clock, Entropy

__all__ = ["Sessions"]


class Sessions:
    """All of them. Everything here is done between two awaits, so nothing needs a lock."""

    def __init__(
        self,
        *,
        pace: HeartbeatPace,
        admission: Admission,
        liveness: LivenessBook,
        records: PendingRecords,
        metrics: GatewayMetrics,
        clock: Clock,
        entropy: Entropy,
        unknown: UnknownTokens | None = None,
        told: ToldClaims | None = None,
        book: SessionBook | None = None,
    ) -> None:
        self.pace: Final = pace
        self.heartbeat: Final = Heartbeat(interval_seconds=pace.interval_seconds)
        self._wheel = HeartbeatWheel(pace.slot_seconds)
        self._admission = admission
        self._liveness = liveness
        self._records = records
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._unknown = UnknownTokens(keep_seconds=0.0) if unknown is None else unknown
        self._told = ToldClaims(claims_max=0) if told is None else told
        self._book = book or SessionBook()
        self._live: dict[int, Session] = {}
        self._known: set[int] = set()  # sessions that count as connected
        self._drain_retry_seconds: float | None = None
        self._comers_after_seconds_max: float | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        self._nudges = {lane: Nudge() for lane in Lane}
        metrics.observe_sessions(lambda: len(self._live), lambda: self._book.waiting_count)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._live)

    @property
    def waiting_count(self) -> int:
        """How many of them were told to wait and are owed nothing."""
        return self._book.waiting_count

    def nudge_of(self, lane: Lane) -> Nudge:
        """Set when somebody in this lane became due."""
        return self._nudges[lane]

    def open(self, token_hash: bytes, *, last_applied_claim_id: str) -> Session:
        """Registers a stream; Unavailable with a time to come back if it is not admitted."""
        self._admit(token_hash)
        key, superseded = self._book.open(token_hash, last_applied_claim_id=last_applied_claim_id)
        if superseded is not None:
            self._finish(superseded, Superseded())
        session = Session(key, token_hash, on_written=self._note_delivery)
        self._live[key] = session
        self._schedule(session, self._clock.monotonic() + self.pace.first_seconds)
        self._empty.clear()
        self._metrics.count_session()
        if self._comers_after_seconds_max is not None:
            after_seconds = self._comers_after_seconds_max * self._entropy.random()
            self.send_away(key, after_seconds=after_seconds)
        self._nudges[Lane.ORDINARY].set()
        return session

    def close(self, session: Session) -> None:
        """The stream is over, for whatever reason; repeating it is harmless."""
        if self._live.pop(session.key, None) is None:
            return
        self._book.close(session.key)
        if session.key in self._known:
            self._known.remove(session.key)
            self._liveness.release(
                session.token_hash,
                has_vanished=session.end is None,
                now_seconds=self._clock.monotonic(),
            )
        self._metrics.count_end(name_of_end(session.end))
        if not self._live:
            self._empty.set()

    def hint(self, workspace_id: str) -> bool:
        """A claim may have become deliverable. Whether an agent of the workspace is here."""
        is_awaited = self._book.hint(workspace_id) > 0
        self._nudge_if_due()
        return is_awaited

    def hint_all(self) -> None:
        """Hints may have been lost: everybody is to be read again."""
        self._book.hint_all()
        self._nudge_if_due()

    def note_recorded(self, records: Sequence[ReinitRecord]) -> None:
        """These are durable: who waits for its acknowledgement is to be read again."""
        for record in records:
            if record.phase is Phase.APPLIED:
                self._book.nudge(record.token_hash)
        self._nudge_if_due()

    def sweep(self, *, older_than_seconds: float) -> int:
        """Makes due who was last read so long ago. Returns how many."""
        read_before = self._clock.monotonic() - older_than_seconds
        count = self._book.sweep(read_before_seconds=read_before)
        self._nudge_if_due()
        return count

    def beat(self) -> None:
        """Gives a heartbeat to every stream that has heard nothing for long."""
        now_seconds = self._clock.monotonic()
        for key in self._wheel.take_due(now_seconds=now_seconds):
            session = self._live.get(key)
            if session is not None and session.beat_at <= now_seconds + self.pace.slot_seconds:
                is_first = not session.has_heartbeat
                session.beat()
                self._schedule_next(session, now_seconds, is_first=is_first)

    def begin_read(self, lane: Lane) -> Read | None:
        """What to ask the truth next; None if nobody is due in this lane."""
        return self._book.begin_read(lane)

    def fail_read(self, read: Read) -> None:
        """The truth did not answer; everybody concerned is due again."""
        self._book.fail_read(read.read_id)
        self._nudge_if_due()

    def finish_read(self, read: Read, checks: Sequence[AgentCheck]) -> tuple[Told, ...]:
        """Tells the streams what the truth answered; ValueError if it answered for others."""
        told = self._book.finish_read(read.read_id, checks, now_seconds=self._clock.monotonic())
        for one in told:
            self._tell(one)
        self._nudge_if_due()
        return told

    def refuse_comers(self, retry_seconds: float) -> tuple[int, ...]:
        """Admits nobody any more; they are told when to come back. Returns who is here."""
        self._drain_retry_seconds = retry_seconds
        return tuple(self._live)

    def send_comers_away(self, after_seconds_max: float) -> tuple[int, ...]:
        """Whoever still comes is admitted, and asked at once to open a stream elsewhere within that
        time: that is no error. Returns who was here before.
        """
        self._comers_after_seconds_max = after_seconds_max
        return tuple(self._live)

    def send_away(self, session_key: int, *, after_seconds: float) -> None:
        """Asks an agent to open a new stream elsewhere, and ends this one."""
        self._book.close(session_key)
        self._finish(session_key, Reconnect(after_seconds=after_seconds))

    async def wait_until_empty(self) -> None:
        """Returns when no stream is open."""
        await self._empty.wait()

    def _admit(self, token_hash: bytes) -> None:
        if self._drain_retry_seconds is not None:
            self._metrics.count_refusal("DRAINING")
            raise Unavailable(
                "this gateway is going away",
                reason="DRAINING",
                retry_after_seconds=self._drain_retry_seconds * (1 + self._entropy.random()),
            )
        decision = self._admission.decide(
            now_seconds=self._clock.monotonic(),
            sessions=len(self._live),
            is_takeover=self._book.is_open(token_hash),
            chance=self._entropy.random(),
        )
        if isinstance(decision, Refused):
            self._metrics.count_refusal(decision.reason)
            raise Unavailable(
                "this gateway takes no more streams right now",
                reason=decision.reason,
                retry_after_seconds=decision.retry_after_seconds,
            )

    def _tell(self, told: Told) -> None:
        session = self._live.get(told.session_key)
        if session is None:
            return
        match told.answer:
            case Wait():
                self._greet(session)
            case Deliver():
                self._told.note(session.token_hash, told.answer.claim_id)
                session.finish(told.answer)
            case Acknowledge():
                self._greet(session)
                self._note(session.token_hash, told.answer.claim_id, Phase.APPLIED)
            case Refuse():
                session.finish(told.answer)
                if told.answer.reason is RefusalReason.UNKNOWN_TOKEN:
                    now_seconds = self._clock.monotonic()
                    self._unknown.note(session.token_hash, now_seconds=now_seconds)
                    return
        if told.session_key not in self._known:
            self._known.add(told.session_key)
            self._liveness.hold(session.token_hash)

    def _greet(self, session: Session) -> None:
        if session.greet():
            self._schedule_next(session, self._clock.monotonic(), is_first=True)

    def _schedule_next(self, session: Session, now_seconds: float, *, is_first: bool) -> None:
        if is_first:
            after_seconds = self.pace.spread_seconds(self._entropy.random())
        else:
            after_seconds = self.pace.steady_seconds
        self._schedule(session, now_seconds + after_seconds)

    def _schedule(self, session: Session, at_seconds: float) -> None:
        session.beat_at = at_seconds
        self._wheel.put(session.key, at_seconds=at_seconds)

    def _finish(self, session_key: int, end: Superseded | Reconnect) -> None:
        session = self._live.get(session_key)
        if session is not None:
            session.finish(end)

    def _note_delivery(self, token_hash: bytes, delivered: Deliver) -> None:
        self._note(token_hash, delivered.claim_id, Phase.DELIVERED)

    def _note(self, token_hash: bytes, claim_id: str, phase: Phase) -> None:
        self._records.add(
            ReinitRecord(
                token_hash=token_hash,
                claim_id=claim_id,
                phase=phase,
                at_seconds=self._clock.monotonic(),
            )
        )

    def _nudge_if_due(self) -> None:
        for lane, nudge in self._nudges.items():
            if self._book.count_due(lane):
                nudge.set()
