"""Admission, drain and liveness, as arithmetic."""

from __future__ import annotations

import pytest

from agentgw.core.admission import Admission, AdmissionLimits, Admitted, Refused
from agentgw.core.drain import DrainStep, plan_drain
from agentgw.core.liveness import REPORT_AGENTS_MAX, LivenessBook, LivenessReport

LIMITS = AdmissionLimits(sessions_max=10, opens_per_second=2, opens_burst=3, retry_seconds=1.0)


def decide(
    admission: Admission, now: float, *, sessions: int = 0, is_takeover: bool = False
) -> Admitted | Refused:
    return admission.decide(now_seconds=now, sessions=sessions, is_takeover=is_takeover, chance=0.5)


def test_a_burst_is_let_in_and_the_rest_is_spread_over_the_time_it_takes() -> None:
    admission = Admission(LIMITS)
    assert [decide(admission, 0.0) for _ in range(3)] == [Admitted()] * 3
    assert [decide(admission, 0.0) for _ in range(3)] == [
        Refused(reason="TOO_MANY_CONNECTS", retry_after_seconds=1.5 + ahead / 2)
        for ahead in (1, 2, 3)
    ]
    assert decide(admission, 0.5) == Admitted()
    assert decide(admission, 0.5) == Refused(
        reason="TOO_MANY_CONNECTS", retry_after_seconds=1.5 + 3 / 2
    )


def test_however_many_are_refused_nobody_waits_longer_than_for_a_full_house() -> None:
    """Whoever knocks without a token of any agent makes no honest agent wait for ever."""
    admission = Admission(LIMITS)
    answers = [decide(admission, 0.0) for _ in range(1000)]
    longest = 1.5 + LIMITS.sessions_max / LIMITS.opens_per_second
    assert answers[-1] == Refused(reason="TOO_MANY_CONNECTS", retry_after_seconds=longest)


def test_a_long_pause_refills_no_more_than_a_burst() -> None:
    admission = Admission(LIMITS)
    decide(admission, 0.0)
    answers = [decide(admission, 1000.0) for _ in range(4)]
    assert answers[:3] == [Admitted()] * 3
    assert isinstance(answers[3], Refused)


def test_a_clock_that_stands_still_or_goes_back_breaks_nothing() -> None:
    admission = Admission(LIMITS)
    assert decide(admission, 10.0) == Admitted()
    assert decide(admission, 5.0) == Admitted()


def test_a_full_gateway_takes_only_takeovers() -> None:
    admission = Admission(LIMITS)
    refused = Refused(reason="SESSIONS_EXHAUSTED", retry_after_seconds=1.5)
    assert decide(admission, 0.0, sessions=10) == refused
    assert decide(admission, 0.0, sessions=10, is_takeover=True) == Admitted()


def test_a_drain_is_spread_evenly_and_forgets_nobody() -> None:
    assert plan_drain((), window_seconds=1.0) == ()
    assert plan_drain((1, 2, 3), window_seconds=0.0) == (
        DrainStep(offset_seconds=0.0, session_keys=(1, 2, 3)),
    )
    plan = plan_drain(range(1000), window_seconds=1.0)
    assert [key for step in plan for key in step.session_keys] == list(range(1000))
    assert {len(step.session_keys) for step in plan} == {50}
    assert (plan[0].offset_seconds, plan[-1].offset_seconds) == (0.0, 0.95)


def a_book() -> LivenessBook:
    return LivenessBook(refresh_seconds=10.0, grace_seconds=2.0, agents_max=3)


def report(
    *arrived: bytes, refreshed: tuple[bytes, ...] = (), disconnected: tuple[bytes, ...] = ()
) -> LivenessReport:
    return LivenessReport(
        connected=(*arrived, *refreshed), disconnected=disconnected, arrived=arrived
    )


def test_a_held_stream_is_reported_when_new_and_refreshed() -> None:
    book = a_book()
    book.hold(b"a")
    assert book.take_report(now_seconds=0.0) == report(b"a")
    assert not book.take_report(now_seconds=7.0)
    assert book.take_report(now_seconds=10.0) == report(refreshed=(b"a",))


@pytest.mark.parametrize("held", [1, 7, 300, 9_000])
def test_those_who_came_at_once_are_refreshed_a_few_at_a_time(held: int) -> None:
    book = LivenessBook(refresh_seconds=10.0, grace_seconds=2.0, agents_max=3)
    tokens = [number.to_bytes(2) for number in range(held)]
    for token in tokens:
        book.hold(token)
    told_at: dict[bytes, float] = {}
    refreshes = 0
    largest = 0
    for now_seconds in (tick * 0.5 for tick in range(200)):
        told: list[bytes] = []
        while said := book.take_report(now_seconds=now_seconds):
            told += said.connected
        if now_seconds > 0:
            largest = max(largest, len(told))
            refreshes += len(told)
        told_at |= dict.fromkeys(told, now_seconds)
        assert min(told_at.values()) > now_seconds - 10.5  # never later than it should be
    assert largest <= max(2, 1.7 * held * 0.5 / 8)
    assert 100 / 10 - 2 <= refreshes / held <= 100 / 8  # and not much more often


def test_a_vanished_agent_is_reported_gone_after_a_grace_unless_it_returns() -> None:
    book = a_book()
    for token in (b"a", b"b"):
        book.hold(token)
    book.take_report(now_seconds=0.0)
    for token in (b"a", b"b"):
        book.release(token, has_vanished=True, now_seconds=1.0)
    book.hold(b"b")
    assert book.take_report(now_seconds=1.5) == report(b"b")
    assert book.take_report(now_seconds=3.0) == report(disconnected=(b"a",))
    assert not book.take_report(now_seconds=7.0)


def test_an_agent_that_was_sent_away_is_not_reported_gone() -> None:
    book = a_book()
    book.hold(b"a")
    book.take_report(now_seconds=0.0)
    book.release(b"a", has_vanished=False, now_seconds=1.0)
    assert not book.take_report(now_seconds=100.0)


def test_a_superseded_stream_takes_nothing_away() -> None:
    book = a_book()
    book.hold(b"a")
    book.hold(b"a")
    book.release(b"a", has_vanished=True, now_seconds=0.0)
    assert book.take_report(now_seconds=0.0) == report(b"a")
    assert book.take_report(now_seconds=10.0) == report(refreshed=(b"a",))


def test_an_agent_that_comes_back_to_a_dead_stream_has_arrived_again() -> None:
    book = a_book()
    book.hold(b"a")
    book.take_report(now_seconds=0.0)
    book.hold(b"a")  # the newer stream; the older ends because of it
    book.release(b"a", has_vanished=False, now_seconds=1.0)
    assert book.take_report(now_seconds=1.0) == report(b"a")


def test_a_sign_of_life_is_reported_once() -> None:
    book = a_book()
    assert book.hear(b"a")
    told = book.take_report(now_seconds=0.0)
    assert (told.connected, told.arrived) == ((b"a",), ())  # its stream may be at another gateway
    assert not book.take_report(now_seconds=100.0)


def test_who_has_left_before_the_report_is_not_said_to_have_arrived() -> None:
    book = a_book()
    book.hold(b"a")
    book.release(b"a", has_vanished=False, now_seconds=0.0)
    assert book.take_report(now_seconds=0.0).arrived == ()


def test_signs_of_life_are_bounded() -> None:
    book = a_book()
    assert [book.hear(bytes([number])) for number in range(4)] == [True, True, True, False]
    assert book.hear(bytes([0]))


def test_a_report_that_did_not_get_through_is_made_again() -> None:
    book = a_book()
    book.hold(b"a")
    book.hold(b"b")
    book.release(b"b", has_vanished=True, now_seconds=0.0)
    failed = book.take_report(now_seconds=5.0)
    assert failed == report(b"a", disconnected=(b"b",))
    book.put_back(failed, now_seconds=5.0)
    assert book.take_report(now_seconds=5.0) == failed
    book.put_back(failed, now_seconds=5.0)
    book.hold(b"b")
    assert set(book.take_report(now_seconds=5.0).connected) == {b"a", b"b"}


def test_a_refresh_that_did_not_get_through_is_no_arrival_the_next_time() -> None:
    book = a_book()
    book.hold(b"a")
    book.take_report(now_seconds=0.0)
    failed = book.take_report(now_seconds=10.0)
    assert failed == report(refreshed=(b"a",))
    book.put_back(failed, now_seconds=10.0)
    assert book.take_report(now_seconds=10.0) == failed


def test_a_report_is_one_call_and_the_next_takes_the_rest() -> None:
    book = LivenessBook(refresh_seconds=10.0, grace_seconds=2.0, agents_max=3)
    for number in range(REPORT_AGENTS_MAX + 1):
        book.hold(number.to_bytes(2))
    sizes = [len(book.take_report(now_seconds=0.0).connected) for _ in range(3)]
    assert sizes == [REPORT_AGENTS_MAX, 1, 0]
