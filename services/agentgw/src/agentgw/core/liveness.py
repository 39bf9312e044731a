"""Which agents are connected here, and what of it the control plane has yet to hear.

An agent counts as connected while it holds a stream, or when it reports by itself. Connections are
reported when they are new and again before they would be forgotten. That one has ended is reported
only if the peer vanished, and only after a grace period in which it may be back: an agent that was
sent away, told of a claim or told to stop asking is alive and about to be heard of elsewhere.

Thousands that came at once would be due again at once, for ever, and hold up whatever else the
database does. So they are told of a few at a time, from a fifth of the interval on and at a pace
that is through in time; whoever has waited for all of it is told of in any case.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["REPORT_AGENTS_MAX", "LivenessBook", "LivenessReport"]

REPORT_AGENTS_MAX: Final = 2_000  # as many as one RecordLiveness takes
EARLY: Final = 0.2  # of the interval: who was told of so long ago may be told of again
TURN_SECONDS: Final = 0.4  # how often a few more may be


@dataclass(frozen=True, slots=True, kw_only=True)
class LivenessReport:
    """What to tell: token hashes of agents."""

    connected: tuple[bytes, ...]
    disconnected: tuple[bytes, ...]
    arrived: tuple[bytes, ...] = ()
    """Those of the connected that were heard themselves: a new stream, or their own report. Of the
    others it is only not known yet that they have gone."""

    def __bool__(self) -> bool:
        return bool(self.connected or self.disconnected)


class LivenessBook:
    """Pure. Times are seconds of one monotonic clock."""

    def __init__(self, *, refresh_seconds: float, grace_seconds: float, agents_max: int) -> None:
        self._refresh_seconds = refresh_seconds
        self._grace_seconds = grace_seconds
        self._agents_max = agents_max
        self._held: dict[bytes, int] = {}
        self._news: OrderedDict[bytes, None] = OrderedDict()
        self._reported: OrderedDict[bytes, float] = OrderedDict()  # held ones only, oldest first
        self._gone: OrderedDict[bytes, float] = OrderedDict()
        self._turn_at = 0.0
        self._early_count = 0.0  # how many may be told of before they are due

    def hold(self, token_hash: bytes) -> None:
        """A stream of this agent has begun: that is news even if another one is still held, which
        may be dead; the agent may have been elsewhere meanwhile.
        """
        self._held[token_hash] = self._held.get(token_hash, 0) + 1
        self._gone.pop(token_hash, None)
        self._reported.pop(token_hash, None)
        self._news[token_hash] = None

    def release(self, token_hash: bytes, *, has_vanished: bool, now_seconds: float) -> None:
        """A stream of this agent has ended."""
        left = self._held.get(token_hash, 0) - 1
        if left > 0:
            self._held[token_hash] = left
            return
        self._held.pop(token_hash, None)
        self._reported.pop(token_hash, None)
        if has_vanished:
            self._news.pop(token_hash, None)
            if len(self._gone) < self._agents_max:
                self._gone[token_hash] = now_seconds

    def hear(self, token_hash: bytes) -> bool:
        """The agent has reported by itself. False if there is no room to note it."""
        if token_hash in self._held:
            return True
        if token_hash not in self._news and len(self._news) >= self._agents_max:
            return False
        self._gone.pop(token_hash, None)
        self._news[token_hash] = None
        return True

    def take_report(self, *, now_seconds: float) -> LivenessReport:
        """What is to be told now, at most one call's worth; empty if nothing is."""
        self._begin_turn(now_seconds)
        connected: list[bytes] = []
        while self._news and len(connected) < REPORT_AGENTS_MAX:
            token_hash, _ = self._news.popitem(last=False)
            connected.append(token_hash)
        # who was only heard may be held elsewhere: it is connected, but not taken from there
        arrived = tuple(each for each in connected if each in self._held)
        while self._reported and len(connected) < REPORT_AGENTS_MAX:
            token_hash, reported_at = next(iter(self._reported.items()))
            if reported_at + self._refresh_seconds > now_seconds:
                is_early = reported_at + EARLY * self._refresh_seconds <= now_seconds
                if not is_early or self._early_count < 1:
                    break
                self._early_count -= 1
            del self._reported[token_hash]
            connected.append(token_hash)
        disconnected: list[bytes] = []
        while self._gone and len(disconnected) < REPORT_AGENTS_MAX:
            token_hash, gone_at = next(iter(self._gone.items()))
            if gone_at + self._grace_seconds > now_seconds:
                break
            del self._gone[token_hash]
            disconnected.append(token_hash)
        for token_hash in connected:
            if token_hash in self._held:
                self._reported[token_hash] = now_seconds
        return LivenessReport(
            connected=tuple(connected), disconnected=tuple(disconnected), arrived=arrived
        )

    def _begin_turn(self, now_seconds: float) -> None:
        passed_seconds = min(now_seconds - self._turn_at, self._refresh_seconds)
        if passed_seconds < TURN_SECONDS:
            return
        self._turn_at = now_seconds
        per_second = len(self._held) / ((1 - EARLY) * self._refresh_seconds)
        share = max(1.0, per_second * 2 * TURN_SECONDS)  # what was not used is lost
        self._early_count = min(share, self._early_count + per_second * passed_seconds)

    def put_back(self, report: LivenessReport, *, now_seconds: float) -> None:
        """The report did not get through: tell it again, unless it has become wrong."""
        for token_hash in report.arrived:
            if token_hash in self._held:
                self._reported.pop(token_hash, None)
                self._news[token_hash] = None
        for token_hash in report.connected:
            if token_hash in self._reported:
                self._reported[token_hash] = now_seconds - self._refresh_seconds
                self._reported.move_to_end(token_hash, last=False)
        for token_hash in report.disconnected:
            if token_hash not in self._held and token_hash not in self._news:
                self._gone[token_hash] = now_seconds - self._grace_seconds
                self._gone.move_to_end(token_hash, last=False)
