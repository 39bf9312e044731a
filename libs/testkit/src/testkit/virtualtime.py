"""An event loop whose clock jumps instead of waiting.

`@virtual_time` makes an async test run on such a loop: `asyncio.sleep(3600)` takes an hour there
and no time here, and what runs is always the same for the same program.

Promises: the clock moves only when nothing can run, and then to the next timer exactly; when
nothing can run and no timer is left, `Deadlock` is raised, naming what every task waits for.
What it cannot know is what other threads and processes will do: sockets are looked at, but never
waited for, so a test on this loop does no IO and starts no thread.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["Deadlock", "VirtualTimeLoop", "run_virtual", "virtual_time"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_RESOLUTION_SECONDS = 1e-6  # two timers closer than this fire together


class Deadlock(Exception):
    """Nothing can run and nothing is due."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` starts at 0."""

    def __init__(self) -> None:
        self._virtual_seconds = 0.0
        super().__init__(_JumpingSelector(self._jump))
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_seconds

    def _jump(self, timeout_seconds: float | None) -> None:
        if timeout_seconds is None:
            raise Deadlock(_describe(self))
        self._virtual_seconds += timeout_seconds


class _JumpingSelector(selectors.BaseSelector):
    """Asks the real selector without waiting, and has the clock jump if it has nothing."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and (timeout is None or timeout > 0):
            self._jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


def run_virtual(main: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine on a new loop of virtual time and returns its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def virtual_time(
    test: Callable[_P, Coroutine[Any, Any, _T]],
) -> Callable[_P, _T]:
    """Makes an async test run on virtual time. Its fixtures must be synchronous ones."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return run_virtual(test(*args, **kwargs))

    return run


def _describe(loop: asyncio.AbstractEventLoop) -> str:
    lines = ["nothing can run and no timer is left; waiting are:"]
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        frames = task.get_stack(limit=1)
        where = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "nowhere"
        lines.append(
            f"  {task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')}) {where}"
        )
    return "\n".join(lines)
