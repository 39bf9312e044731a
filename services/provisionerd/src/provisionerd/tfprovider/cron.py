"""Cron expressions: whether one can be read, and whether two pool schedules ever overlap.

Promises: pure, and exact for schedules: two overlap if and only if some minute of some year
matches both. Grammar and meaning are those templates are written for: five fields with minute `*`
for pools (`* HOUR DOM MONTH DOW`), seconds first for scripts; names, lists, ranges and steps; day
of week 0 to 6; when both day fields are restricted, either one matching is enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations

from provisionerd.tfprovider.checks import quote
from provisionerd.tfprovider.cty import Value

__all__ = [
    "Cron",
    "CronInvalid",
    "check_pool_cron",
    "check_script_cron",
    "find_overlap",
    "is_overlapping",
    "parse_pool_cron",
]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # some February has 29
_DESCRIPTORS = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")


class CronInvalid(ValueError):
    """A cron expression cannot be read; the message says which field and what is allowed."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_SECOND = _Field("second", 0, 59)
_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 6, _WEEKDAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The hours and days a pool schedule covers."""

    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    is_any_weekday: bool

    def matches_day(self, day: int, weekday: int) -> bool:
        """Whether a day of a month that falls on a weekday is covered."""
        by_day, by_weekday = day in self.days, weekday in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def parse_pool_cron(expression: str) -> Cron:
    """Reads `* HOUR DOM MONTH DOW`."""
    fields = expression.split()
    if len(fields) != 5:
        raise CronInvalid(f"it has {len(fields)} fields; five are needed: * HOUR DOM MONTH DOW.")
    if fields[0] != "*":
        raise CronInvalid(
            f"its minute field is {quote(fields[0])}; it must be *, as schedules cover whole hours."
        )
    return Cron(
        hours=_parse_field(_HOUR, fields[1]),
        days=_parse_field(_DAY, fields[2]),
        months=_parse_field(_MONTH, fields[3]),
        weekdays=_parse_field(_WEEKDAY, fields[4]),
        is_any_day=_is_star(fields[2]),
        is_any_weekday=_is_star(fields[4]),
    )


def is_overlapping(one: Cron, other: Cron) -> bool:
    """Whether two schedules are ever open at the same moment. Every date falls on every weekday in
    some year, so all combinations are looked at.
    """
    if not one.hours & other.hours:
        return False
    return any(
        one.matches_day(day, weekday) and other.matches_day(day, weekday)
        for month in one.months & other.months
        for day in range(1, _DAYS_IN_MONTH[month - 1] + 1)
        for weekday in range(7)
    )


def find_overlap(expressions: tuple[str, ...]) -> tuple[str, str] | None:
    """The first two expressions that overlap."""
    for one, other in combinations(expressions, 2):
        if is_overlapping(parse_pool_cron(one), parse_pool_cron(other)):
            return one, other
    return None


def check_pool_cron(value: Value) -> str | None:
    """A check: the cron expression of a pool schedule."""
    try:
        parse_pool_cron(str(value))
    except CronInvalid as error:
        return f"is {quote(value)}; {error}"
    return None


def check_script_cron(value: Value) -> str | None:
    """A check: the cron expression of a script; seconds come first, the weekday may be left out."""
    fields = re.sub(r"^(CRON_)?TZ=\S+\s+", "", str(value)).split()
    text = " ".join(fields)
    if text in _DESCRIPTORS or _EVERY.fullmatch(text):
        return None
    if len(fields) not in (5, 6):
        return (
            f"is {quote(value)}; it has {len(fields)} fields; six are needed:"
            f" SECOND MINUTE HOUR DOM MONTH DOW (DOW may be left out)."
        )
    try:
        for field, part in zip(
            (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY), fields, strict=False
        ):
            _parse_field(field, part)
    except CronInvalid as error:
        return f"is {quote(value)}; {error}"
    return None


def _is_star(text: str) -> bool:
    return any(part in ("*", "?") for part in text.split(","))


def _parse_field(field: _Field, text: str) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _parse_part(field, part))


def _parse_part(field: _Field, part: str) -> range:
    span, slash, step_text = part.partition("/")
    first_text, dash, last_text = span.partition("-")
    step = 1
    if slash:
        if not step_text.isascii() or not step_text.isdigit() or int(step_text) == 0:
            raise _invalid(field, part)
        step = int(step_text)
    if span in ("*", "?"):
        return range(field.low, field.high + 1, step)
    first = _parse_number(field, first_text, part)
    open_end = field.high if slash else first
    last = _parse_number(field, last_text, part) if dash else open_end
    if not field.low <= first <= last <= field.high:
        raise _invalid(field, part)
    return range(first, last + 1, step)


def _parse_number(field: _Field, text: str, part: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not (text.isascii() and text.isdigit()):
        raise _invalid(field, part)
    return int(text)


def _invalid(field: _Field, part: str) -> CronInvalid:
    return CronInvalid(
        f"its {field.name} field has {quote(part)}; it must be *, numbers from {field.low} to"
        f" {field.high}, ranges, lists or steps."
    )
