"""Pool schedules: `* HOURS DOM MONTHS DOW`, a continuous stretch of local time.

Promises: an expression is read once, strictly, into four bit masks, and matching is a handful of
bit tests; it never searches. The minute field is always `*`, so `* 8-18 * * 1-5` is open from
08:00:00 to 18:59:59 on weekdays, to the second. Meaning is the one templates are written for: when
both day fields are restricted, either one matching is enough. What cron dialects disagree about
(six fields, `@daily`, `L`, `W`, `#`, `R`, day of week 7, ranges that wrap, dates that never come)
is refused here, and croniter, which knows more of them than we do, is asked as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Final

from croniter import croniter

from reconciler.core.schedules.errors import ScheduleInvalid, quote

__all__ = ["CronMask", "TimedMask", "parse_cron", "parse_timed_cron"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # some February has 29
_LENGTH_MAX = 200  # characters; an expression of every hour, day and month is shorter
_CACHED_MAX = 16_384  # expressions; one is about 300 bytes
_TIMED_ANSWER = '"MINUTE HOURS DOM MONTHS DOW", such as "30 8 * * 1-5"'
_ANSWER = '"* HOURS DOM MONTHS DOW", such as "* 8-18 * * 1-5"'
_PART = re.compile(r"(?P<span>\*|\?|(?P<first>\w+)(-(?P<last>\w+))?)(/(?P<step>[0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 6, _WEEKDAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronMask:
    """An expression as bits: bit n of `hours` is hour n, and so on; Sunday is weekday 0.

    `is_either_day` says that both day fields are restricted, so one of them matching is enough.
    """

    hours: int
    days: int
    months: int
    weekdays: int
    is_either_day: bool

    def matches(self, local: datetime) -> bool:
        """Whether a local time, its clock as people there read it, is inside."""
        return bool(self.hours >> local.hour & 1) and self.matches_date(local)

    def matches_date(self, day: date) -> bool:
        """Whether any hour of a local date is inside."""
        return bool(self.months >> day.month & 1) and self.matches_day(
            day.day, day.isoweekday() % 7
        )

    def matches_day(self, day: int, weekday: int) -> bool:
        """Whether a day of a month that falls on a weekday is inside, whatever the month."""
        by_day, by_weekday = bool(self.days >> day & 1), bool(self.weekdays >> weekday & 1)
        return (by_day or by_weekday) if self.is_either_day else (by_day and by_weekday)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedMask:
    """An expression that names minutes: bit n of `minutes` is minute n of each hour of `hours`."""

    minutes: int
    hours: CronMask


@lru_cache(maxsize=_CACHED_MAX)
def parse_cron(expression: str) -> CronMask:
    """Reads `* HOURS DOM MONTHS DOW`. Raises ScheduleInvalid."""
    fields = _split(expression, _ANSWER)
    minute = fields[0]
    if minute != "*":
        raise _refuse(
            expression,
            f"its minute field is {quote(minute)}",
            "* in the minute field, because a schedule covers whole hours",
        )
    return _parse_hours(expression, fields, _ANSWER)


@lru_cache(maxsize=_CACHED_MAX)
def parse_timed_cron(expression: str) -> TimedMask:
    """Reads `MINUTE HOURS DOM MONTHS DOW`. Raises ScheduleInvalid."""
    fields = _split(expression, _TIMED_ANSWER)
    minutes = _parse_field(expression, _MINUTE, fields[0])
    return TimedMask(minutes=minutes, hours=_parse_hours(expression, fields, _TIMED_ANSWER))


def _split(expression: str, answer: str) -> list[str]:
    if len(expression) > _LENGTH_MAX:
        raise ScheduleInvalid(
            "cron", f"has {len(expression)} characters", f"at most {_LENGTH_MAX} characters"
        )
    fields = expression.split()
    if len(fields) != 5:
        raise _refuse(expression, f"it has {len(fields)} fields, not five", answer)
    return fields


def _parse_hours(expression: str, fields: list[str], answer: str) -> CronMask:
    _, hours, days, months, weekdays = fields
    mask = CronMask(
        hours=_parse_field(expression, _HOUR, hours),
        days=_parse_field(expression, _DAY, days),
        months=_parse_field(expression, _MONTH, months),
        weekdays=_parse_field(expression, _WEEKDAY, weekdays),
        is_either_day=not (_is_any(days) or _is_any(weekdays)),
    )
    if not _is_ever_open(mask):
        raise _refuse(
            expression,
            f"no month it names has day {quote(days)}",
            "a date that exists in some year",
        )
    if not croniter.is_valid(" ".join(fields).replace("?", "*")):
        raise _refuse(expression, "it is no cron expression", answer)
    return mask


def _refuse(expression: str, what: str, allowed: str) -> ScheduleInvalid:
    return ScheduleInvalid("cron", f"is {quote(expression)}; {what}", allowed)


def _parse_field(expression: str, field: _Field, text: str) -> int:
    mask = 0
    for part in text.split(","):
        for value in _parse_part(expression, field, part):
            mask |= 1 << value
    return mask


def _parse_part(expression: str, field: _Field, part: str) -> range:
    found = _PART.fullmatch(part)
    if found is None or (found["span"] == "?" and field not in (_DAY, _WEEKDAY)):
        raise _refuse_part(expression, field, part)
    first, last = field.low, field.high
    if found["first"] is not None:
        first = _parse_number(expression, field, part, found["first"])
        if found["last"] is not None:
            last = _parse_number(expression, field, part, found["last"])
        elif found["step"] is None or first == field.high:
            last = first
    step = int(found["step"] or 1)
    if not field.low <= first <= last <= field.high or step == 0:
        raise _refuse_part(expression, field, part)
    return range(first, last + 1, step)


def _parse_number(expression: str, field: _Field, part: str, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise _refuse_part(expression, field, part)
    return int(text)


def _refuse_part(expression: str, field: _Field, part: str) -> ScheduleInvalid:
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return _refuse(
        expression,
        f"its {field.name} field has {quote(part)}",
        f"* or numbers from {field.low} to {field.high}{names}, as N, N-M, either with /STEP, or a"
        " list of these",
    )


def _is_any(field: str) -> bool:
    return any(part in ("*", "?") for part in field.split(","))


def _is_ever_open(mask: CronMask) -> bool:
    """Every date of a leap year falls on every weekday in some year, so days are enough."""
    return any(
        mask.months >> month & 1 and mask.matches_day(day, weekday)
        for month in range(1, 13)
        for day in range(1, _DAYS_IN_MONTH[month - 1] + 1)
        for weekday in range(7)
    )
