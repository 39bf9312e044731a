"""How long to wait before trying again.

Full jitter: each delay is drawn evenly from zero up to a ceiling that doubles until its maximum.
After a crash of what everyone depends on, the attempts of many clients spread over the whole window
rather than arriving together.
"""

from __future__ import annotations

from svckit.system import Entropy

__all__ = ["Backoff"]


class Backoff:
    """The delays of one row of failures. Not shared between rows."""

    def __init__(self, initial_seconds: float, maximum_seconds: float, entropy: Entropy) -> None:
        """Make one whose ceiling starts at `initial_seconds` and doubles up to `maximum_seconds`.

        Raises ValueError unless 0 < initial_seconds <= maximum_seconds.
        """
        if not 0 < initial_seconds <= maximum_seconds:
            raise ValueError(
                f"initial_seconds is {initial_seconds} and maximum_seconds is {maximum_seconds}: "
                "allowed is 0 < initial_seconds <= maximum_seconds"
            )
        self._initial_seconds = initial_seconds
        self._maximum_seconds = maximum_seconds
        self._entropy = entropy
        self._ceiling_seconds = initial_seconds

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        ceiling_seconds = self._ceiling_seconds
        self._ceiling_seconds = min(ceiling_seconds * 2, self._maximum_seconds)
        return self._entropy.random() * ceiling_seconds

    def reset(self) -> None:
        """An attempt succeeded: the next failure starts anew."""
        self._ceiling_seconds = self._initial_seconds
