"""The one door to regular expressions written by template authors.

Promises: the dialect is RE2, which templates are written for (`\\z`, `[[:alpha:]]`, no
look-around), and matching takes time linear in the value, so no value can hold the daemon up.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

_RE2: Any = importlib.import_module("re2")  # ships no types
__all__ = ["Pattern", "PatternInvalid", "compile_pattern"]

_MEMORY_BYTES_MAX = 8 * 1024 * 1024  # RE2's own default, said aloud


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> object | None:
        """A match anywhere in a text, None if there is none."""
        ...


class PatternInvalid(ValueError):
    """An expression cannot be read; the message says why."""


def compile_pattern(expression: str) -> Pattern:
    """Reads an RE2 expression."""
    options = _RE2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES_MAX
    try:
        return cast("Pattern", _RE2.compile(expression, options=options))
    except _RE2.error as error:
        reason = cast("object", error.args[0] if error.args else error)
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternInvalid(f"is not an RE2 expression: {text}") from error
