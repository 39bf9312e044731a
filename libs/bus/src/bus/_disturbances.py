"""Who wants to know that messages may have been lost, and how often that happened."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Disturbances"]


class Disturbances:
    """A counter with listeners."""

    def __init__(self) -> None:
        self._generation = 0
        self._next_key = 0
        self._callbacks: dict[int, Callable[[], None]] = {}

    @property
    def generation(self) -> int:
        return self._generation

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back on every disturbance until the returned function is called."""
        key = self._next_key
        self._next_key += 1
        self._callbacks[key] = callback

        def unregister() -> None:
            self._callbacks.pop(key, None)

        return unregister

    def report(self) -> None:
        """Messages may have been lost."""
        self._generation += 1
        for callback in tuple(self._callbacks.values()):
            callback()
