"""A matcher of cron expressions that is too simple to be wrong: it reads the text anew for every
minute, field by field.
"""

from __future__ import annotations

from datetime import datetime

__all__ = ["MONTHS", "WEEKDAYS", "matches_minute"]

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def matches_minute(expression: str, moment: datetime) -> bool:
    """Whether an expression that was accepted is open in the minute of a local time."""
    _, hours, days, months, weekdays = expression.split()
    by_day = _matches_field(days, moment.day, 1, [])
    by_weekday = _matches_field(weekdays, (moment.weekday() + 1) % 7, 0, WEEKDAYS)
    is_either = "*" not in days and "*" not in weekdays
    return (
        _matches_field(hours, moment.hour, 0, [])
        and _matches_field(months, moment.month, 1, MONTHS)
        and ((by_day or by_weekday) if is_either else (by_day and by_weekday))
    )


def _matches_field(text: str, value: int, low: int, names: list[str]) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            return True
        first, _, last = span.partition("-")
        start = names.index(first) + low if first in names else int(first)
        stop = int(last) if last else start
        if start <= value <= stop and (value - start) % int(step or 1) == 0:
            return True
    return False
