"""Who is told on which channel, when it is tried again, and what is told again tomorrow."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.notifications.fanout import (
    Event,
    Person,
    PlannedDelivery,
    Target,
    plan_fan_out,
)
from reconciler.core.notifications.keys import daily_key, missing_key, once_key
from reconciler.core.notifications.kinds import Channel, Kind
from reconciler.core.notifications.retries import (
    Bury,
    Conclude,
    Drop,
    TryAgain,
    decide,
    retry_delay,
)
from reconciler.core.notifications.sinks import Accepted, Outcome, Refused, Unaddressed, Unreached

ADA, BOB = UUID(int=1), UUID(int=2)
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
MAIL, HOOK = Target(channel=Channel.EMAIL), Target(channel=Channel.WEBHOOK)
EVENT = Event(id=UUID(int=9), kind=Kind.POOL_HARD_LIMITED)


def channels(person: Person, event: Event = EVENT, *targets: Target) -> str:
    """The channels somebody is told on, in order."""
    planned = plan_fan_out(event, [person], targets)
    assert {each.recipient_id for each in planned} <= {person.user_id}
    return " ".join(each.target.channel for each in planned)


@pytest.mark.parametrize(
    ("person", "is_told"),
    [
        (Person(user_id=ADA, roles=frozenset({"owner"})), True),
        (Person(user_id=ADA, roles=frozenset({"template-admin", "auditor"})), True),
        (Person(user_id=ADA, organization_roles=frozenset({"organization-admin"})), True),
        (Person(user_id=ADA, roles=frozenset({"auditor"})), False),
        (Person(user_id=ADA, organization_roles=frozenset({"owner"})), False),
        (Person(user_id=ADA, roles=frozenset({"organization-admin"})), False),
        (Person(user_id=ADA), False),
        (Person(user_id=ADA, roles=frozenset({"owner"}), is_disabled=True), False),
        (Person(user_id=SYSTEM_USER_ID, roles=frozenset({"owner"})), False),
    ],
)
def test_those_who_look_after_templates_are_told(person: Person, is_told: bool) -> None:
    assert channels(person) == ("inbox" if is_told else "")


def test_what_is_for_somebody_is_told_to_them_alone() -> None:
    event = Event(id=UUID(int=9), kind=Kind.CLAIM_FAILED, recipient_id=BOB)
    people = [Person(user_id=ADA, roles=frozenset({"owner"})), Person(user_id=BOB)]
    (delivery,) = plan_fan_out(event, people, [])
    assert delivery == PlannedDelivery(target=Target(channel=Channel.INBOX), recipient_id=BOB)
    assert channels(Person(user_id=BOB, is_disabled=True), event) == ""
    system = Event(id=UUID(int=9), kind=Kind.CLAIM_FAILED, recipient_id=SYSTEM_USER_ID)
    assert channels(Person(user_id=SYSTEM_USER_ID), system) == ""


def test_mail_needs_an_address_a_server_and_no_objection() -> None:
    for email, has_server, inbox, mail in itertools.product(
        ("", "ada@example.org"), (False, True), (None, False, True), (None, False, True)
    ):
        said = {
            (EVENT.kind, channel): is_on
            for channel, is_on in (("inbox", inbox), ("email", mail))
            if is_on is not None
        } | {(Kind.CLAIM_FAILED, "inbox"): False}  # another kind's
        person = Person(user_id=ADA, email=email, roles=frozenset({"owner"}), preferences=said)
        wanted = ["inbox"] if inbox is not False else []
        if email and has_server and mail is not False:
            wanted.append("email")
        found = channels(person, EVENT, *([MAIL] if has_server else []))
        assert found == " ".join(wanted), (email, has_server, inbox, mail)


def test_the_installations_sinks_hear_once_whoever_else_does() -> None:
    rooms = [Target(channel=Channel.APPRISE, name=name) for name in "ab"]
    people = [Person(user_id=each, roles=frozenset({"owner"})) for each in (ADA, BOB)]
    planned = plan_fan_out(EVENT, people, [MAIL, HOOK, *rooms])
    assert [each.target for each in planned if each.recipient_id is None] == [HOOK, *rooms]
    assert len(planned) == 5
    assert plan_fan_out(EVENT, [], [MAIL, HOOK]) == (PlannedDelivery(target=HOOK),)


def test_a_wait_doubles_up_to_an_hour_and_half_of_it_is_chance() -> None:
    def seconds(attempt: int, dice: float) -> float:
        return retry_delay(attempt, first_delay_seconds=10, dice=dice).total_seconds()

    assert [seconds(attempt, 1.0) for attempt in (1, 2, 3, 4, 9, 10, 99)] == [
        10, 20, 40, 80, 2560, 3600, 3600,
    ]  # fmt: skip
    assert [seconds(3, dice) for dice in (0.0, 0.5)] == [20, 30]


@pytest.mark.parametrize(
    ("outcome", "attempt", "decision"),
    [
        (Accepted(), 1, Conclude()),
        (Accepted(), 99, Conclude()),
        (Refused("no such mailbox"), 1, Bury("no such mailbox")),
        (Unaddressed("disabled"), 1, Drop("disabled")),
        (Unreached("gone"), 1, TryAgain(NOW + timedelta(seconds=5), "gone")),
        (Unreached("gone"), 2, TryAgain(NOW + timedelta(seconds=10), "gone")),
        (Unreached("gone"), 3, Bury("gone (attempt 3 of 3)")),
        (Unreached("x" * 9000), 1, TryAgain(NOW + timedelta(seconds=5), "x" * 500)),
    ],
)
def test_what_becomes_of_an_attempt(outcome: Outcome, attempt: int, decision: object) -> None:
    found = decide(
        outcome, attempt=attempt, attempts_max=3, first_delay_seconds=10, dice=0.0, now=NOW
    )
    assert found == decision


def test_a_daily_key_changes_at_midnight_in_utc_and_a_plain_one_never() -> None:
    kind = Kind.CLAIM_RESOURCES_REPLACED
    last = datetime(2030, 1, 1, 23, 59, 59, tzinfo=UTC)
    abroad = last.astimezone(timezone(timedelta(hours=9)))  # there it is tomorrow
    assert daily_key(kind, ADA, last) == daily_key(kind, ADA, abroad)
    assert daily_key(kind, ADA, last) != daily_key(kind, ADA, last + timedelta(seconds=1))
    assert daily_key(kind, ADA, last) != daily_key(kind, BOB, last)
    assert once_key(Kind.POOL_HARD_LIMITED, ADA) == f"pool.hard_limited/{ADA}"


def test_each_sort_of_jobs_that_nobody_takes_is_told_of() -> None:
    keys = {
        missing_key(organization, type_, tags, NOW)
        for organization in (ADA, BOB)
        for type_ in ("terraform", "process")
        for tags in ({}, {"zone": "a"}, {"zone": "b"})
    }
    assert len(keys) == 12
    assert missing_key(ADA, "t", {"a": "1", "b": "2"}, NOW) in keys | {
        missing_key(ADA, "t", {"b": "2", "a": "1"}, NOW)
    }
