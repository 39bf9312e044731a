"""Runs one command in a session of its own and ends it on request.

Promises: the command's whole process group is gone when `run` was asked to stop, however it was
asked: `cancel.graceful` sends one interrupt (terraform then finishes what it is doing and writes
its tfstate), a second interrupt is never sent (it makes terraform abandon work in flight);
`cancel.forced`, or the end of the grace, kills the group, as soon as the command is `is_at_rest`.
Cancelling the task does the same with the shorter grace. Output is bounded: a line by bytes,
standard error by its last lines.

A command that ends by itself leaves its group alone: a template may have started an agent in it.
One that was ended by a signal from elsewhere does not: it could not end what it had under way.
Pipes are made here rather than by asyncio, whose `wait` would last until the last inheritor of a
pipe is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from provisionerd.commands.ending import kill_group, signal_group
from provisionerd.commands.lines import LineSplitter, Tail
from provisionerd.core.errors import ProvisionError
from provisionerd.core.provisioner import Cancel

__all__ = ["Command", "Limits", "Outcome", "run"]

_STDERR_LINES_MAX = 20
_READ_BYTES = 65_536
_DRAIN_SECONDS = 2.0  # how long output may trail behind the exit of a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. `output_file` takes standard output instead of the line callback.
    `is_at_rest` says of the stopped command whether killing it now leaves its files whole.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    output_file: Path | None = None
    is_at_rest: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how wide."""

    timeout_seconds: float
    interrupt_grace_seconds: float
    shutdown_grace_seconds: float
    line_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended. `exit_code` is negative for a signal; `asked_to_stop` and `timed_out` say
    why it may have ended early.
    """

    exit_code: int
    stderr: tuple[str, ...]
    asked_to_stop: bool
    timed_out: bool


class _Stop:
    """The two levels of asking one command to stop."""

    def __init__(self, grace_seconds: float, is_at_rest: Callable[[], bool] | None) -> None:
        self.interrupt = asyncio.Event()
        self.terminate = asyncio.Event()
        self.grace_seconds = grace_seconds
        self._is_at_rest = is_at_rest
        self.timed_out = False

    async def follow(self, asked: asyncio.Event, *, terminate: bool) -> None:
        await asked.wait()
        if terminate:
            self.terminate.set()
        self.interrupt.set()

    async def expire(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.interrupt.wait()
        except TimeoutError:
            self.timed_out = True
            self.interrupt.set()

    async def carry_out(self, process: Process) -> None:
        await self.interrupt.wait()
        if not self.terminate.is_set():  # terraform answers an interrupt by writing its tfstate
            signal_group(process, signal.SIGINT)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.grace_seconds):
                    await self.terminate.wait()
        await kill_group(process, self._is_at_rest)


async def run(
    command: Command, *, limits: Limits, cancel: Cancel, on_line: Callable[[str], None]
) -> Outcome:
    """Runs a command to its end, or to the end it is asked to come to."""
    stop = _Stop(limits.interrupt_grace_seconds, command.is_at_rest)
    ended: asyncio.Future[Outcome | Exception] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            ended.set_result(await _supervise(command, limits, cancel, on_line, stop))
        except Exception as error:
            ended.set_result(error)  # a value, so that the group below does not wrap it

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        try:
            result = await asyncio.shield(ended)
        except asyncio.CancelledError:
            stop.grace_seconds = min(stop.grace_seconds, limits.shutdown_grace_seconds)
            stop.interrupt.set()
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError:  # asked again: no more patience
                stop.terminate.set()
                await asyncio.shield(ended)
            raise
    if isinstance(result, Exception):
        raise result
    return result


async def _supervise(
    command: Command,
    limits: Limits,
    cancel: Cancel,
    on_line: Callable[[str], None],
    stop: _Stop,
) -> Outcome:
    stderr = Tail(_STDERR_LINES_MAX)
    async with _pipe() as (out, out_fd), _pipe() as (err, err_fd):
        process = await _start(command, out_fd, err_fd)
        try:
            async with asyncio.TaskGroup() as group:
                watchers = [
                    group.create_task(stop.follow(cancel.graceful, terminate=False)),
                    group.create_task(stop.follow(cancel.forced, terminate=True)),
                    group.create_task(stop.expire(limits.timeout_seconds)),
                    group.create_task(stop.carry_out(process)),
                ]
                readers = group.create_task(_read_both(out, on_line, err, stderr.add, limits))
                exit_code = await process.wait()
                for watcher in watchers:
                    watcher.cancel()
                if stop.interrupt.is_set() or exit_code < 0:  # what it could not end itself
                    signal_group(process, signal.SIGKILL)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        await readers
        finally:
            if stop.interrupt.is_set() or process.returncode is None:
                signal_group(process, signal.SIGKILL)
    return Outcome(
        exit_code=exit_code,
        stderr=stderr.lines,
        asked_to_stop=stop.interrupt.is_set() and not stop.timed_out,
        timed_out=stop.timed_out,
    )


async def _start(command: Command, out_fd: int, err_fd: int) -> Process:
    try:
        if command.output_file is None:
            process = await _spawn(command, out_fd, err_fd)
        else:
            with command.output_file.open("wb") as file:
                process = await _spawn(command, file.fileno(), err_fd)
    except OSError as error:
        raise ProvisionError(f"cannot run {command.argv[0]}: {error.strerror}") from error
    finally:
        os.close(out_fd)
        os.close(err_fd)
    return process


async def _spawn(command: Command, out_fd: int, err_fd: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *command.argv,
        cwd=command.cwd,
        env=dict(command.env),
        stdin=DEVNULL,
        stdout=out_fd,
        stderr=err_fd,
        start_new_session=True,
    )


@asynccontextmanager
async def _pipe() -> AsyncGenerator[tuple[asyncio.StreamReader, int]]:
    """A reader here and a descriptor for the child, which the caller closes."""
    read_fd, write_fd = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", 0)
    )
    try:
        yield reader, write_fd
    finally:
        transport.close()


async def _read_both(
    out: asyncio.StreamReader,
    on_out: Callable[[str], None],
    err: asyncio.StreamReader,
    on_err: Callable[[str], None],
    limits: Limits,
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_read(out, on_out, limits.line_bytes_max))
        group.create_task(_read(err, on_err, limits.line_bytes_max))


async def _read(
    stream: asyncio.StreamReader, on_line: Callable[[str], None], line_bytes_max: int
) -> None:
    splitter = LineSplitter(line_bytes_max)
    while piece := await stream.read(_READ_BYTES):
        for line in splitter.feed(piece):
            on_line(line)
    for line in splitter.finish():
        on_line(line)
