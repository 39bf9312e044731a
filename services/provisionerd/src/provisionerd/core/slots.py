"""How many jobs to ask for.

Promises: what is held and what is asked for never exceed the slots; what was asked for on a
stream is forgotten with the stream, because nobody will answer it.
"""

from __future__ import annotations

from provisionerd.core.jobs import JobRef

__all__ = ["Slots"]


class Slots:
    """The arithmetic of one worker."""

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError(f"slots is {total}; it must be 1 or more")
        self.total = total
        self._held: set[JobRef] = set()
        self._asked = 0

    @property
    def held(self) -> frozenset[JobRef]:
        """The jobs in hand."""
        return frozenset(self._held)

    def begin_stream(self) -> None:
        """A new stream: nothing has been asked on it."""
        self._asked = 0

    def next_want(self) -> int:
        """How many more to ask for now, 0 for none; they count as asked for from here on."""
        want = max(0, self.total - len(self._held) - self._asked)
        self._asked += want
        return want

    def take(self, ref: JobRef) -> bool:
        """A job has come. False if there is no room for it: it was not asked for."""
        self.pass_over()
        if len(self._held) >= self.total:
            return False
        self._held.add(ref)
        return True

    def pass_over(self) -> None:
        """What came was no job for us: ask for another in its stead."""
        self._asked = max(0, self._asked - 1)

    def give_back(self, ref: JobRef) -> None:
        """A job has ended."""
        self._held.discard(ref)
