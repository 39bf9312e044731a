"""Runs the services of one machine as child processes, and leaves none behind.

Promises: a service counts as started when it has written its port file; one that ends by itself is
started again, at once the first time and later after growing pauses; `stop` ends the services in
the reverse order of their start, and then every process that carries this directory's
WARMPOOL_INSTANCE, agents included. What a run that was killed left behind is ended by the next run.
The services are in sessions of their own, so that Ctrl-C reaches us alone, and are told to end when
we are gone, however we ended.

Every service's output is in `logs/<name>.log` in the directory. Use it from the main thread: the
kernel ties a child to the thread that started it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded._child import Child, spawn
from embedded._steps import Steps, run_steps, run_steps_blocking, steps_in
from embedded._sweep import sweep
from embedded.errors import EmbeddedError, StartFailed
from embedded.files import DirectoryLock, make_directory, write_private

__all__ = ["INSTANCE_VARIABLE", "Supervisor"]

INSTANCE_VARIABLE = "WARMPOOL_INSTANCE"
READY_SECONDS = 60.0
SWEEP_GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0  # who ran so long before it ended is started again without a pause


def _say_nothing(_: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Service:
    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    port_file: Path
    log_path: Path
    child: Child | None = None
    started_at: float = 0.0
    crashes: int = 0
    restart_at: float | None = None
    was_ready: bool = field(default=False)


class Supervisor:
    """The services of one directory. `env` is added to our own environment for every service.

    `report` is told in one line whenever a service ended by itself. Use it as an async context
    manager, or call `stop` in a `finally`.
    """

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str] | None = None,
        *,
        report: Callable[[str], None] = _say_nothing,
    ) -> None:
        self._directory = directory.absolute()
        self._env = dict(env or {})
        self._report = report
        self._lock = DirectoryLock(self._directory / "lock")
        self._instance = ""
        self._services: dict[str, _Service] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self.prepare()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def instance(self) -> str:
        """The id that every process of this directory carries; empty before `prepare`."""
        return self._instance

    def log_path(self, name: str) -> Path:
        """Where a service's output goes."""
        return self._directory / "logs" / f"{name}.log"

    def pid_of(self, name: str) -> int | None:
        """The service's process id; None while it is not running."""
        child = self._service(name).child
        return child.pid if child and child.exit_code is None else None

    async def prepare(self) -> None:
        """Takes the directory and ends what an earlier run left; repeating it is harmless.

        Raises DirectoryInUse if another supervisor has it. `start_service` does this by itself.
        """
        if self._instance:
            return
        make_directory(self._directory / "logs")
        self._lock.acquire()
        note = self._directory / "instance"
        if not note.exists():
            write_private(note, secrets.token_hex(16) + "\n")
        self._instance = note.read_text().strip()
        await run_steps(self._sweep(SWEEP_GRACE_SECONDS))

    async def start_service(
        self,
        name: str,
        module: str,
        env: Mapping[str, str],
        *,
        port_file: Path,
        arguments: Sequence[str] = (),
        ready_seconds: float = READY_SECONDS,
    ) -> int:
        """Starts `python -m module` and returns the port it wrote into its port file.

        Raises StartFailed, quoting the end of its log, if it ended before or took too long; it is
        not running then.
        """
        await self.prepare()
        if name in self._services:
            raise EmbeddedError(f"a service named {name!r} is running; stop it first")
        service = _Service(
            name=name,
            command=[sys.executable, "-P", "-m", module, *arguments],
            env={**os.environ, **self._env, **env, INSTANCE_VARIABLE: self._instance},
            port_file=port_file,
            log_path=self.log_path(name),
        )
        self._spawn(service)
        self._services[name] = service
        try:
            port = await self.wait_ready(name, seconds=ready_seconds)
        except BaseException:
            del self._services[name]
            if service.child is not None:
                service.child.signal_group(signal.SIGKILL)
                service.child.reap(SWEEP_GRACE_SECONDS)
            raise
        service.was_ready = True
        if self._timer is None:
            self._look()
        return port

    async def wait_ready(self, name: str, *, seconds: float = READY_SECONDS) -> int:
        """Waits until the service, maybe started again since, is ready, and returns its port."""
        service = self._service(name)
        for _ in steps_in(seconds):
            if service.child and service.child.exit_code is None and service.port_file.exists():
                return int(service.port_file.read_text())
            if not service.was_ready and service.child and service.child.exit_code is not None:
                raise StartFailed(
                    name,
                    f"ended with {service.child.exit_code} before it was ready",
                    service.log_path,
                )
            await run_steps(_one_step())
        raise StartFailed(name, f"was not ready in {seconds:g} s", service.log_path)

    def terminate(self, name: str) -> None:
        """Tells the service to end in order; it is started again when it has."""
        self._signal(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """Ends the service as a crash does; it is started again."""
        self._signal(name, signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """Holds the service still without ending it; it stands when this returns."""
        child = self._service(name).child
        if child is not None:
            child.freeze()

    def thaw(self, name: str) -> None:
        """Lets a frozen service go on."""
        self._signal(name, signal.SIGCONT)

    async def stop_service(self, name: str, *, grace_seconds: float = 30.0) -> None:
        """Ends one service for good; it may be started again by `start_service`."""
        service = self._services.pop(name, None)
        if service is None or service.child is None:
            return
        try:
            await run_steps(service.child.stopped(signal.SIGTERM, grace_seconds))
        finally:
            service.child.signal_group(signal.SIGKILL)
            service.child.reap(SWEEP_GRACE_SECONDS)

    async def stop(self, *, grace_seconds: float = 30.0) -> None:
        """Ends every service, then every process of this directory; repeating it is harmless.

        If it is cancelled, for example by a second Ctrl-C, it ends everything at once.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._instance:
            return
        is_orderly = False
        try:
            for name in reversed(tuple(self._services)):
                await self.stop_service(name, grace_seconds=grace_seconds)
            await run_steps(self._sweep(SWEEP_GRACE_SECONDS))
            is_orderly = True
        finally:
            if not is_orderly:
                self._end_at_once()
            self._instance = ""
            self._lock.release()

    def _end_at_once(self) -> None:
        for service in self._services.values():
            if service.child is not None:
                service.child.signal_group(signal.SIGKILL)
                service.child.reap(SWEEP_GRACE_SECONDS)
        self._services.clear()
        run_steps_blocking(self._sweep(0))

    def _sweep(self, grace_seconds: float) -> Steps:
        return sweep(INSTANCE_VARIABLE, self._instance, grace_seconds=grace_seconds)

    def _service(self, name: str) -> _Service:
        try:
            return self._services[name]
        except KeyError:
            running = ", ".join(self._services) or "none"
            raise EmbeddedError(f"no service named {name!r}; there are: {running}") from None

    def _signal(self, name: str, number: signal.Signals) -> None:
        child = self._service(name).child
        if child is not None:
            child.signal(number)

    def _spawn(self, service: _Service) -> None:
        service.port_file.unlink(missing_ok=True)  # an older process's word
        service.started_at = asyncio.get_running_loop().time()
        service.restart_at = None
        service.child = spawn(
            service.name, service.command, log_path=service.log_path, env=service.env
        )

    def _look(self) -> None:
        """Starts again what ended by itself. Runs as a timer: it never waits."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self._look)
        for service in self._services.values():
            if not service.was_ready:
                continue
            if service.restart_at is not None:
                if service.restart_at <= loop.time():
                    self._try_spawn(service)
            elif service.child is not None and service.child.exit_code is not None:
                self._plan_restart(service, f"ended with {service.child.exit_code}")

    def _plan_restart(self, service: _Service, why: str) -> None:
        now = asyncio.get_running_loop().time()
        service.crashes = 1 if now - service.started_at >= STEADY_SECONDS else service.crashes + 1
        pause = FIRST_PAUSE_SECONDS * 2 ** (service.crashes - 2) if service.crashes > 1 else 0.0
        pause = min(pause, LONGEST_PAUSE_SECONDS)
        service.restart_at = now + pause
        when = f"in {pause:g} s" if pause else "now"
        self._report(f"{service.name} {why}; it is started again {when} (log: {service.log_path})")

    def _try_spawn(self, service: _Service) -> None:
        try:
            self._spawn(service)
        except OSError as error:  # no memory, no processes: it may pass
            self._plan_restart(service, f"could not be started: {error}")


def _one_step() -> Steps:
    yield
