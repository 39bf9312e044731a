"""How a service runs, and how it ends.

Every loop is started by name in a `RunGroup` and lives until the group's body ends: by then the
body has drained what the loops serve. A loop that returns by itself is a bug: it is logged by name
and fails the group, because a process that looks alive while a part of it is dead helps nobody; its
supervisor starts a new one. Loops use what was opened outside of their group, so it outlives them.

SIGTERM and SIGINT set `stopping`; the second of them ends the process at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import NoReturn, Self, TypeVar, cast

from svckit.cancellation import is_asked_to_end
from svckit.errors import StartFailed
from svckit.log import get_logger, setup_logging
from svckit.readiness import Readiness
from svckit.settings import ServiceSettings, load_settings
from svckit.telemetry import setup_telemetry

__all__ = ["LoopEnded", "RunGroup", "run", "run_service"]

_log = get_logger(__name__)

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)
_Loop = Callable[[], Awaitable[None]]


class LoopEnded(Exception):
    """A loop returned although nobody told it to stop."""


class RunGroup:
    """The loops of a service. Use it as `async with RunGroup() as group`."""

    def __init__(
        self, stopping: asyncio.Event | None = None, readiness: Readiness | None = None
    ) -> None:
        """Make one; a group inside another shares its `stopping`."""
        self.stopping = stopping or asyncio.Event()
        """Set when the process is asked to end."""
        self.readiness = readiness or Readiness()
        """What the process says of itself, at /readyz."""
        self._tasks: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()

    def start(self, name: str, loop: _Loop) -> None:
        """Run `loop()` until the group ends. If it raises, the group's body is cancelled."""
        self._tasks.append(self._group.create_task(self._guard(name, loop), name=name))

    async def __aenter__(self) -> Self:
        """Open the group."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the loops and wait for them. Raises what loops and body raised, as a group."""
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    async def _guard(self, name: str, loop: _Loop) -> None:
        try:
            await loop()
        except asyncio.CancelledError as error:
            if is_asked_to_end():
                raise
            _log.error("A loop was cancelled by nobody.", action="run", name=name)
            raise LoopEnded(f"the loop {name} was cancelled by nobody") from error
        except Exception as error:
            _log.error("A loop failed.", action="run", name=name, error=error)
            raise
        if not self.stopping.is_set():
            _log.error("A loop returned by itself, which is a bug.", action="run", name=name)
            raise LoopEnded(f"the loop {name} returned by itself")


async def run_service(
    name: str,
    main: Callable[[RunGroup], Awaitable[None]],
    readiness: Readiness | None = None,
) -> int:
    """Run `main` with a group whose `stopping` follows the signals; the exit code.

    `main` starts loops, waits for `group.stopping`, drains and returns. 0 if it returned, 1 if it
    or a loop failed: that is logged.
    """
    group = RunGroup(readiness=readiness)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, _on_signal, group.stopping, number)
    code = 0
    try:
        async with group:
            await main(group)
    except* StartFailed as failures:
        code = 1
        for failure in _leaves(failures):
            _log.error("The service cannot start.", action="start", name=name, reason=str(failure))
    except* Exception as failures:
        code = 1
        for failure in _leaves(failures):
            _log.error("The service failed.", action="run", name=name, error=failure)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    return code


def run(
    settings_class: type[SettingsT],
    main: Callable[[SettingsT, RunGroup], Awaitable[None]],
    argv: Sequence[str] | None = None,
) -> NoReturn:
    """Be the service's process: settings, logging, telemetry, signals, `main`, and exit.

    Exits with 0 after an orderly end, 1 after a failure, 2 for a wrong setting.
    """
    settings = load_settings(settings_class, argv)
    setup_logging(settings.service, settings.log_level)
    readiness = Readiness()
    try:
        telemetry = setup_telemetry(
            settings.service, settings.metrics_listen, settings.otlp_endpoint, readiness
        )
    except StartFailed as error:
        _log.error("The service cannot start.", action="start", reason=str(error))
        raise SystemExit(1) from None
    if telemetry.metrics_port:
        _log.info("Metrics are served.", action="start", port=telemetry.metrics_port)
    try:
        _settle_memory()
        code = asyncio.run(
            run_service(settings.service, lambda group: main(settings, group), readiness)
        )
    finally:
        telemetry.close()
    raise SystemExit(code)


def _settle_memory() -> None:
    """What was imported stays: the collector need not look at it again, nor wake for every 700
    new values, of which a batch of calls makes thousands that die by themselves.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _on_signal(stopping: asyncio.Event, number: signal.Signals) -> None:
    if stopping.is_set():
        _log.warning("A second signal: ending at once.", action="stop", signal=number.name)
        os._exit(128 + number)
    _log.info("A signal: draining.", action="stop", signal=number.name)
    stopping.set()


def _leaves(failures: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", failure))
        else:
            yield failure
