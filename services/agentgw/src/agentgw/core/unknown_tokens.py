"""Tokens that no agent had a moment ago: who asks with one again need not be looked up again.

An entry counts for a short time from when it was found, however often it is asked for, so that a
token that becomes valid works that much later at most: an agent may well start before its build has
ended. When there is no room the oldest entry goes, and is looked up again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["TOKENS_MAX", "UnknownTokens"]

TOKENS_MAX: Final = 20_000  # about 4 MiB


class UnknownTokens:
    """Pure. Times are seconds of one monotonic clock; tokens are named by their hash."""

    def __init__(self, *, keep_seconds: float, tokens_max: int = TOKENS_MAX) -> None:
        self._keep_seconds = keep_seconds
        self._tokens_max = tokens_max
        self._until: OrderedDict[bytes, float] = OrderedDict()  # soonest over first

    def __len__(self) -> int:
        return len(self._until)

    def note(self, token_hash: bytes, *, now_seconds: float) -> None:
        """The control plane has said that no agent has it."""
        self._forget(now_seconds)
        if self._keep_seconds <= 0 or token_hash in self._until:
            return
        if len(self._until) >= self._tokens_max:
            self._until.popitem(last=False)
        self._until[token_hash] = now_seconds + self._keep_seconds

    def has(self, token_hash: bytes, *, now_seconds: float) -> bool:
        """Whether that was said a moment ago."""
        until = self._until.get(token_hash)
        return until is not None and until > now_seconds

    def _forget(self, now_seconds: float) -> None:
        while self._until:
            token_hash, until = next(iter(self._until.items()))
            if until > now_seconds:
                break
            del self._until[token_hash]
