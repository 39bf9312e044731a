"""Cron expressions of pools: what is read, what is refused, and how."""

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.schedules.cron import parse_cron
from reconciler.core.schedules.errors import ScheduleInvalid
from testkit.cron_twin import MONTHS, WEEKDAYS, matches_minute


def _bits(*values: int) -> int:
    return sum(1 << value for value in values)


@pytest.mark.parametrize(
    ("expression", "hours", "days", "months", "weekdays", "is_either_day"),
    [
        ("* * * * *", range(24), range(1, 32), range(1, 13), range(7), False),
        ("* 8-18 * * 1-5", range(8, 19), range(1, 32), range(1, 13), range(1, 6), False),
        ("* 0,23 1 jan,DEC sun", [0, 23], [1], [1, 12], [0], True),
        ("* */6 ? * Mon-Fri/2", [0, 6, 12, 18], range(1, 32), range(1, 13), [1, 3, 5], False),
        ("* 20/2 1-31 2 6", [20, 22], range(1, 32), [2], [6], True),
        ("* 23/2 * * *", [23], range(1, 32), range(1, 13), range(7), False),
        ("*  8 \t29 2  *", [8], [29], [2], range(7), False),
    ],
)
def test_reads_what_the_fields_say(
    expression: str, hours: range, days: range, months: range, weekdays: range, is_either_day: bool
) -> None:
    mask = parse_cron(expression)
    assert (mask.hours, mask.days, mask.months, mask.weekdays, mask.is_either_day) == (
        _bits(*hours),
        _bits(*days),
        _bits(*months),
        _bits(*weekdays),
        is_either_day,
    )


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it has 0 fields"),
        ("@daily", "it has 1 fields"),
        ("* * * *", "it has 4 fields"),
        ("* * * * * *", "it has 6 fields"),
        ("0 8 * * *", "minute field"),
        ("*/5 8 * * *", "minute field"),
        ("0-59 8 * * *", "minute field"),
        ("* 24 * * *", "hour field"),
        ("* 18-8 * * *", "hour field"),
        ("* 8-18/0 * * *", "hour field"),
        ("* ? * * *", "hour field"),
        ("* -1 * * *", "hour field"),
        ("* 8- * * *", "hour field"),
        ("* 8, * * *", "hour field"),
        ("* r * * *", "hour field"),
        ("* H * * *", "hour field"),
        ("* ８ * * *", "hour field"),
        ("* 08x * * *", "hour field"),
        ("* 8 0 * *", "day of month field"),
        ("* 8 32 * *", "day of month field"),
        ("* 8 L * *", "day of month field"),
        ("* 8 15W * *", "day of month field"),
        ("* 8 * 13 *", "month field"),
        ("* 8 * mon *", "month field"),
        ("* 8 * * 7", "day of week field"),
        ("* 8 * * 5-1", "day of week field"),
        ("* 8 * * 1#2", "day of week field"),
        ("* 8 * * L5", "day of week field"),
        ("* 8 30 2 *", "no month it names has day"),
        ("* 8 31 4,6,9,11 *", "no month it names has day"),
        ("* " + "1," * 100 + "1 * * *", "characters"),
    ],
)
def test_refuses_what_dialects_disagree_about(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleInvalid, match=reason) as caught:
        parse_cron(expression)
    assert caught.value.field == "cron"
    assert caught.value.allowed in str(caught.value)


def test_says_what_is_allowed() -> None:
    with pytest.raises(ScheduleInvalid) as caught:
        parse_cron("* 8 * * 1-7")
    assert str(caught.value) == (
        'cron is "* 8 * * 1-7"; its day of week field has "1-7"; allowed is * or numbers from 0 to'
        " 6 or sun to sat, as N, N-M, either with /STEP, or a list of these."
    )


@st.composite
def _fields(draw: st.DrawFn, low: int, high: int, names: list[str]) -> str:
    parts: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        shown = names[first - low] if names and draw(st.booleans()) else str(first)
        parts.append(draw(st.sampled_from(["*", shown, f"{first}-{last}", f"{first}-{last}/2"])))
    return ",".join(parts)


expressions = st.tuples(
    _fields(0, 23, []),
    _fields(1, 28, []),
    _fields(1, 12, MONTHS),
    _fields(0, 6, WEEKDAYS),
).map(lambda fields: "* " + " ".join(fields))


moments = st.integers(0, 20 * 366 * 24 * 60).map(
    lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(expressions, moments)
def test_agrees_with_a_matcher_that_reads_the_text_anew(expression: str, moment: datetime) -> None:
    assert parse_cron(expression).matches(moment) == matches_minute(expression, moment)


@given(expressions)
def test_reads_only_what_croniter_reads_too(expression: str) -> None:
    parse_cron(expression)
    assert croniter.is_valid(expression)
