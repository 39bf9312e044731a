"""The book of sessions: every nudge leads to a read that begins after it, or to an end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentgw.core.session_book import HINTS_DURING_READ_MAX, Lane, Read, SessionBook, Told
from agentgw.core.session_states import TRANSITIONS, SessionEvent, SessionState, next_session_state
from agentgw.core.verdicts import AgentCheck, Deliver, RefusalReason, Refuse, Verdict, Wait

UNCLAIMED = AgentCheck(verdict=Verdict.UNCLAIMED, agent_id="a", workspace_id="w")
DELIVERABLE = AgentCheck(
    verdict=Verdict.DELIVERABLE,
    agent_id="a",
    workspace_id="w",
    claim_id="c",
    owner_id="o",
    reason="r",
)
DELIVER = Deliver(workspace_id="w", owner_id="o", reason="r", claim_id="c")


def a_waiting_session(book: SessionBook, token: bytes = b"t") -> int:
    key, _ = book.open(token, last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    book.finish_read(read.read_id, [UNCLAIMED] * len(read.session_keys), now_seconds=0.0)
    return key


def begin(book: SessionBook, lane: Lane) -> Read:
    read = book.begin_read(lane)
    assert read is not None
    return read


def test_every_state_has_a_row_and_only_reads_can_start_where_one_is_due() -> None:
    assert set(TRANSITIONS) == set(SessionState)
    starts = [state for state in SessionState if SessionEvent.READ_STARTED in TRANSITIONS[state]]
    assert starts == [SessionState.DUE]
    for state in SessionState:
        assert {SessionEvent.NUDGED, SessionEvent.CLOSED} <= set(TRANSITIONS[state])


def test_an_impossible_event_is_an_error() -> None:
    with pytest.raises(ValueError, match="WAITING cannot see READ_STARTED"):
        next_session_state(SessionState.WAITING, SessionEvent.READ_STARTED)


def test_a_new_session_is_read_and_told() -> None:
    book = SessionBook()
    key, superseded = book.open(b"t", last_applied_claim_id="")
    assert superseded is None
    read = begin(book, Lane.ORDINARY)
    assert (read.session_keys, read.token_hashes) == ((key,), (b"t",))
    assert book.finish_read(read.read_id, [DELIVERABLE], now_seconds=1.0) == (
        Told(session_key=key, agent_id="a", workspace_id="w", answer=DELIVER, is_first=True),
    )


def test_a_hint_makes_only_its_own_sessions_due_and_urgently() -> None:
    book = SessionBook()
    key = a_waiting_session(book)
    assert book.hint("another") == 0
    assert book.count_due(Lane.URGENT) == 0
    assert book.hint("w") == 1
    assert book.hint("w") == 1
    assert begin(book, Lane.URGENT).session_keys == (key,)
    assert book.begin_read(Lane.URGENT) is None


def test_a_hint_lifts_a_due_session_into_the_urgent_lane() -> None:
    book = SessionBook()
    a_waiting_session(book)
    book.hint_all()
    assert (book.count_due(Lane.URGENT), book.count_due(Lane.ORDINARY)) == (0, 1)
    book.hint("w")
    assert (book.count_due(Lane.URGENT), book.count_due(Lane.ORDINARY)) == (1, 0)


def test_a_hint_during_a_first_read_repeats_it() -> None:
    book = SessionBook()
    book.open(b"t", last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    assert book.hint("w") == 0  # nobody knows yet that it is this session's
    assert book.finish_read(read.read_id, [UNCLAIMED], now_seconds=0.0) == ()
    assert book.count_due(Lane.URGENT) == 1


def test_what_was_read_too_early_is_delivered_but_never_a_reason_to_end() -> None:
    book = SessionBook()
    failed = AgentCheck(verdict=Verdict.CLAIM_BUILD_FAILED, workspace_id="w", claim_id="c")
    for check, answers in ((DELIVERABLE, (DELIVER,)), (failed, ())):
        key, _ = book.open(b"t", last_applied_claim_id="")
        read = begin(book, Lane.ORDINARY)
        book.hint("w")
        told = book.finish_read(read.read_id, [check], now_seconds=0.0)
        assert tuple(one.answer for one in told) == answers
        book.close(key)


def test_too_many_hints_during_a_read_repeat_all_of_it() -> None:
    book = SessionBook()
    book.open(b"t", last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    for number in range(HINTS_DURING_READ_MAX + 1):
        book.hint(f"workspace {number}")
    assert book.finish_read(read.read_id, [UNCLAIMED], now_seconds=0.0) == ()


def test_a_failed_read_leaves_everybody_due() -> None:
    book = SessionBook()
    gone, _ = book.open(b"1", last_applied_claim_id="")
    stays, _ = book.open(b"2", last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    book.close(gone)
    book.fail_read(read.read_id)
    assert begin(book, Lane.ORDINARY).session_keys == (stays,)


def test_a_read_for_others_is_refused_and_can_still_fail() -> None:
    book = SessionBook()
    book.open(b"1", last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    with pytest.raises(ValueError, match="2 checks for 1 agents"):
        book.finish_read(read.read_id, [UNCLAIMED] * 2, now_seconds=0.0)
    book.fail_read(read.read_id)
    assert book.count_due(Lane.ORDINARY) == 1


def test_reads_are_bounded_and_take_who_waited_longest() -> None:
    book = SessionBook()
    keys = [book.open(bytes([number]), last_applied_claim_id="")[0] for number in range(5)]
    first, second = (book.begin_read(Lane.ORDINARY, agents_max=3) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.session_keys, second.session_keys) == (tuple(keys[:3]), tuple(keys[3:]))


def test_the_newest_session_of_an_agent_takes_over() -> None:
    book = SessionBook()
    old = a_waiting_session(book)
    new, superseded = book.open(b"t", last_applied_claim_id="")
    assert (superseded, book.session_count, book.waiting_count) == (old, 1, 0)
    book.close(old)  # what the old stream does when it ends
    assert book.is_open(b"t")
    book.close(new)
    assert (book.session_count, book.hint("w"), book.is_open(b"t")) == (0, 0, False)


def test_a_sweep_takes_those_read_longest_ago() -> None:
    book = SessionBook()
    for number in range(3):
        book.open(bytes([number]), last_applied_claim_id="")
        read = begin(book, Lane.ORDINARY)
        book.finish_read(read.read_id, [UNCLAIMED], now_seconds=float(number))
    assert book.sweep(read_before_seconds=1.0) == 2
    assert (book.waiting_count, book.count_due(Lane.ORDINARY)) == (1, 2)
    assert book.sweep(read_before_seconds=1.0) == 0


def test_a_refused_session_is_forgotten_at_once() -> None:
    book = SessionBook()
    book.open(b"t", last_applied_claim_id="")
    read = begin(book, Lane.ORDINARY)
    unknown = AgentCheck(verdict=Verdict.UNKNOWN_TOKEN)
    (told,) = book.finish_read(read.read_id, [unknown], now_seconds=0.0)
    assert isinstance(told.answer, Refuse)
    assert told.answer.reason is RefusalReason.UNKNOWN_TOKEN
    assert book.session_count == 0


class BookMachine(RuleBasedStateMachine):
    """Claims become deliverable and are hinted at, at any moment; nobody may stay unaware."""

    def __init__(self) -> None:
        super().__init__()
        self.book = SessionBook()
        self.live: dict[int, str] = {}
        self.deliverable: set[str] = set()
        self.hinted: set[str] = set()  # deliverable, and the hint was not lost
        self.reads: list[tuple[Read, list[AgentCheck]]] = []
        self.delivered: set[int] = set()
        self.seconds = 0.0

    tokens = st.sampled_from(["a", "b", "c"])

    @rule(token=tokens)
    def open(self, token: str) -> None:
        key, superseded = self.book.open(token.encode(), last_applied_claim_id="")
        if superseded is not None:
            del self.live[superseded]
        self.live[key] = token
        if token in self.deliverable:
            self.hinted.add(token)  # the first read finds it

    @rule(token=tokens)
    def leave(self, token: str) -> None:
        for key in [key for key, owner in self.live.items() if owner == token]:
            self.book.close(key)
            del self.live[key]

    @rule(token=tokens, is_lost=st.booleans())
    def commit(self, token: str, is_lost: bool) -> None:
        self.deliverable.add(token)
        if not is_lost:
            self.book.hint(token)
            self.hinted.add(token)

    @rule()
    def reconnect(self) -> None:
        self.book.hint_all()
        self.hinted |= self.deliverable

    @rule(lane=st.sampled_from(list(Lane)))
    def begin(self, lane: Lane) -> None:
        read = self.book.begin_read(lane, agents_max=2)
        if read is not None:
            self.reads.append((read, [self.check(token) for token in read.token_hashes]))

    @rule(index=st.integers(0, 5), is_answered=st.booleans())
    def end(self, index: int, is_answered: bool) -> None:
        if index < len(self.reads):
            self.finish(*self.reads.pop(index), is_answered=is_answered)

    def check(self, token: bytes) -> AgentCheck:
        name = token.decode()
        verdict = Verdict.DELIVERABLE if name in self.deliverable else Verdict.UNCLAIMED
        return AgentCheck(verdict=verdict, workspace_id=name, claim_id="c")

    def finish(self, read: Read, checks: list[AgentCheck], *, is_answered: bool) -> None:
        if not is_answered:
            self.book.fail_read(read.read_id)
            return
        self.seconds += 1.0
        for told in self.book.finish_read(read.read_id, checks, now_seconds=self.seconds):
            assert told.session_key in self.live
            assert isinstance(told.answer, Wait | Deliver)
            if isinstance(told.answer, Deliver):
                assert told.session_key not in self.delivered  # once per session
                assert self.live[told.session_key] in self.deliverable
                self.delivered.add(told.session_key)

    @invariant()
    def the_book_knows_exactly_the_live_sessions(self) -> None:
        assert set(self.book.list_sessions()) == set(self.live)

    def teardown(self) -> None:
        """However it went: once all reads are done, every hinted session has been delivered to."""
        while self.reads:
            self.finish(*self.reads.pop(), is_answered=True)
        while any(self.book.count_due(lane) for lane in Lane):
            for lane in Lane:
                self.begin(lane)
                while self.reads:
                    self.finish(*self.reads.pop(), is_answered=True)
        for key, token in self.live.items():
            assert key in self.delivered or token not in self.hinted


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
