"""Brings Postgres and nats-server back when they end by themselves, as the services are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from embedded import EmbeddedError
from svckit.system import Clock

__all__ = ["Server", "keep_running"]

LOOK_SECONDS = 0.25
PAUSE_SECONDS = 2.0


class Server(Protocol):
    """What EmbeddedPostgres and EmbeddedNats have in common."""

    @property
    def exit_code(self) -> int | None:
        """How it ended if it ended by itself; None while it runs or is not started."""
        ...

    async def start(self) -> None:
        """Returns when it takes connections; raises EmbeddedError if it does not come up."""
        ...

    async def stop(self) -> None:
        """Ends it and gives its directory free."""
        ...


async def keep_running(
    name: str,
    server: Server,
    *,
    log_path: Path,
    clock: Clock,
    note: Callable[[str], None],
    on_back: Callable[[], None],
) -> None:
    """Starts the server again whenever it ends by itself; runs until it is cancelled.

    `note` hears of each end in one line, `on_back` is called once it takes connections again.
    """
    while True:
        await clock.sleep(LOOK_SECONDS)
        code = server.exit_code
        if code is None:
            continue
        note(f"{name} ended with {code}; it is started again now (log: {log_path})")
        await _start_again(name, server, clock, note)
        on_back()


async def _start_again(
    name: str, server: Server, clock: Clock, note: Callable[[str], None]
) -> None:
    while True:
        await server.stop()  # gives the directory free
        try:
            return await server.start()
        except EmbeddedError as error:  # no memory, no disk, a port taken meanwhile: it may pass
            reason = str(error).splitlines()[0]
            note(f"{name} could not be started: {reason}; trying again in {PAUSE_SECONDS:g} s")
        await clock.sleep(PAUSE_SECONDS)
