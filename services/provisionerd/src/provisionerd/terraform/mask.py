"""Keeps secrets out of log lines and error messages.

Promises: every secret that was added, or any of its lines, is replaced wherever it appears; a
longer secret wins over a shorter one inside it. Values too short to tell from ordinary words are
not secrets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["MASK", "Masker"]

MASK = "[hidden]"
_CHARACTERS_MIN = 8  # below, a mask would tear ordinary words apart and hide nothing
_NEVER = re.compile(r"(?!)")


class Masker:
    """Knows the secrets of one job."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._pattern = _NEVER
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Learns more secrets."""
        lines = (line.strip() for secret in secrets for line in (secret, *secret.splitlines()))
        known = self._secrets | {line for line in lines if len(line) >= _CHARACTERS_MIN}
        if known == self._secrets:
            return
        self._secrets = known
        longest_first = sorted(known, key=lambda secret: (-len(secret), secret))
        self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def hide(self, line: str) -> str:
        """The line without its secrets."""
        return self._pattern.sub(MASK, line)
