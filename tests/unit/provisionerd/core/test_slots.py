"""A worker asks for what it can run, and never for more."""

from __future__ import annotations

import uuid

import pytest

from provisionerd.core.jobs import JobRef
from provisionerd.core.slots import Slots


def a_ref(number: int) -> JobRef:
    return JobRef(job_id=uuid.UUID(int=number), attempt=1)


def test_it_asks_once_for_every_free_slot() -> None:
    slots = Slots(3)
    assert [slots.next_want(), slots.next_want()] == [3, 0]
    assert slots.take(a_ref(1))
    assert slots.next_want() == 0  # two are still asked for
    slots.give_back(a_ref(1))
    assert slots.next_want() == 1


def test_a_new_stream_knows_nothing_of_what_was_asked_on_the_old_one() -> None:
    slots = Slots(3)
    slots.next_want()
    slots.take(a_ref(1))
    slots.begin_stream()
    assert slots.next_want() == 2


def test_what_comes_beyond_the_slots_is_not_taken() -> None:
    slots = Slots(1)
    assert slots.take(a_ref(1))
    assert not slots.take(a_ref(2))
    assert slots.held == {a_ref(1)}


def test_it_asks_anew_for_what_was_no_job() -> None:
    slots = Slots(2)
    slots.next_want()
    slots.pass_over()
    assert slots.next_want() == 1


def test_no_slots_make_no_worker() -> None:
    with pytest.raises(ValueError, match="slots is 0; it must be 1 or more"):
        Slots(0)
