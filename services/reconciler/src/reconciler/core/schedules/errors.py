"""What is wrong with a schedule."""

from __future__ import annotations

__all__ = ["ScheduleInvalid", "quote"]

_QUOTED_MAX = 200  # characters


class ScheduleInvalid(ValueError):
    """A schedule or a time zone is refused: which field, why, and what is allowed."""

    def __init__(self, field: str, what: str, allowed: str) -> None:
        self.field = field
        self.what = what
        self.allowed = allowed
        super().__init__(f"{field} {what}; allowed is {allowed}.")


def quote(text: str) -> str:
    """A text as messages show it: short and in quotes."""
    shown = text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "…"
    return f'"{shown}"'
