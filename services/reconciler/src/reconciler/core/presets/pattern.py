"""The one door to regular expressions written by template authors.

Promises: the dialect is RE2, and matching takes time linear in the value, so no author and no value
can hold the control plane up.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any, Protocol, cast

_RE2: Any = importlib.import_module("re2")  # ships no types

__all__ = ["PatternInvalid", "check_pattern", "is_found"]

_MEMORY_BYTES_MAX = 8 * 1024 * 1024  # RE2's own default, said aloud
_CACHED_MAX = 256  # patterns, up to _MEMORY_BYTES_MAX each at worst, some kilobytes in practice


class PatternInvalid(ValueError):
    """An expression cannot be read; the message says why."""


class _Pattern(Protocol):
    def search(self, text: str) -> object | None: ...


def check_pattern(expression: str) -> None:
    """Raises PatternInvalid unless an expression can be read."""
    _compile(expression)


def is_found(expression: str, text: str) -> bool:
    """Whether an expression matches somewhere in a text; authors anchor it themselves. Raises
    PatternInvalid.
    """
    return _compile(expression).search(text) is not None


@lru_cache(maxsize=_CACHED_MAX)
def _compile(expression: str) -> _Pattern:
    options = _RE2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES_MAX
    try:
        return cast("_Pattern", _RE2.compile(expression, options=options))
    except _RE2.error as error:
        reason = cast("object", error.args[0] if error.args else error)
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise PatternInvalid(f"is not an RE2 expression: {text}") from error
