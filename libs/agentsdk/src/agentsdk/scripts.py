"""Runs a manifest's scripts, each in a process group of its own.

All scripts of one occasion run at once: a template must not rely on their order, and one that stays
in the foreground holds up nobody. A script runs under `sh`, or under the interpreter its first line
names. Its text goes through a file only the agent's user can read, never through a command line.

A script that ended may leave processes behind; they live on, and are ended with the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentsdk.manifest import Manifest, Script, build_script_env, resolve_directory
from agentsdk.script_logs import LineSplitter, ScriptLogs
from agentsdk.surroundings import Surroundings

__all__ = ["ScriptFailure", "ScriptRunner"]

_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptFailure:
    """A script that did not end well."""

    display_name: str
    why: str
    is_timeout: bool = False

    def __str__(self) -> str:
        return f"script {self.display_name!r} {self.why}"


class ScriptRunner:
    """Runs scripts inside an agent. `group` is the parent of the tasks that read their output."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        logs: ScriptLogs,
        *,
        directory: Path,
        inherited_env: Mapping[str, str],
        surroundings: Surroundings,
    ) -> None:
        self._group = group
        self._logs = logs
        self._directory = directory
        self._inherited_env = inherited_env
        self._session_id = surroundings.session_id
        self._limits = surroundings.limits
        self._clock = surroundings.clock
        self._left_behind: set[int] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def run_all(
        self, manifest: Manifest, scripts: Sequence[Script]
    ) -> tuple[ScriptFailure, ...]:
        """Runs these at once and returns what failed, in their order. When cancelled, it ends them
        all before it returns.
        """
        if not scripts:
            return ()
        env = build_script_env(manifest, self._inherited_env, self._session_id)
        directory = resolve_directory(manifest, self._directory)
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(self._run(script, env, directory)) for script in scripts]
        return tuple(failure for run in runs if (failure := run.result()) is not None)

    async def end_left_behind(self) -> None:
        """Ends the processes that earlier scripts left in their groups."""
        groups = sorted(group for group in self._left_behind if self._is_ours(group))
        self._left_behind.clear()
        for group in groups:
            _signal_group(group, signal.SIGTERM)
        deadline = self._clock.monotonic() + self._limits.terminate_seconds
        while any(_has_members(group) for group in groups):
            if self._clock.monotonic() >= deadline:
                break
            await self._clock.sleep(0.02)
        for group in groups:
            _signal_group(group, signal.SIGKILL)

    def close(self) -> None:
        """Reads no more output."""
        for pump in self._pumps:
            pump.cancel()

    async def _run(
        self, script: Script, env: Mapping[str, str], directory: Path
    ) -> ScriptFailure | None:
        try:
            with _script_file(script, directory) as path:
                return await self._run_file(script, path, env, directory)
        except (OSError, ValueError) as error:
            failure = ScriptFailure(
                display_name=script.display_name, why=f"could not be started: {error}"
            )
            self._logs.write(script.display_name, str(failure), is_warning=True)
            return failure

    async def _run_file(
        self, script: Script, path: Path, env: Mapping[str, str], directory: Path
    ) -> ScriptFailure | None:
        command = (*read_interpreter(script.text), str(path))
        with contextlib.ExitStack() as opened:
            if script.log_path:
                pump = None
                output = _open_log(directory, script.log_path, env, opened)
            else:
                pump, output = await self._open_pipe(script, opened)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=env,
                start_new_session=True,
            )
        failure = await self._wait(script, process)
        if pump is not None:
            await asyncio.wait({pump}, timeout=self._limits.output_seconds)
        if failure is not None:
            self._logs.write(script.display_name, str(failure), is_warning=True)
        return failure

    async def _wait(
        self, script: Script, process: asyncio.subprocess.Process
    ) -> ScriptFailure | None:
        try:
            async with asyncio.timeout(script.timeout_seconds or None):
                code = await process.wait()
        except TimeoutError:
            return ScriptFailure(
                display_name=script.display_name,
                why=f"exceeded its {script.timeout_seconds:g} seconds",
                is_timeout=True,
            )
        finally:
            if process.returncode is None:
                await self._end(process)
            elif _has_members(process.pid):
                self._left_behind.add(process.pid)
        if code == 0:
            return None
        why = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        return ScriptFailure(display_name=script.display_name, why=why)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ends a running script with everything in its group."""
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.terminate_seconds):
                await process.wait()
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    async def _open_pipe(
        self, script: Script, opened: contextlib.ExitStack
    ) -> tuple[asyncio.Task[None], int]:
        """Where the script writes, closed with `opened` once the script has its own, and the task
        that reads it.
        """
        reading, writing = os.pipe()
        opened.callback(os.close, writing)
        reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        pump = self._group.create_task(self._pump(script, reader, transport))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return pump, writing

    async def _pump(
        self, script: Script, reader: asyncio.StreamReader, transport: asyncio.ReadTransport
    ) -> None:
        """Passes output on until the last process that holds the pipe is gone."""
        splitter = LineSplitter(self._limits.log_line_bytes_max)
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                for line in splitter.feed(chunk):
                    self._logs.write(script.display_name, line)
            for line in splitter.finish():
                self._logs.write(script.display_name, line)
        finally:
            transport.close()

    def _is_ours(self, group: int) -> bool:
        """False if the group's number went to somebody else since. Where there is no /proc, a
        number is taken for ours as long as its group has members.
        """
        if not Path("/proc/self/environ").exists():
            return _has_members(group)
        marker = f"WARMPOOL_AGENT_SESSION_ID={self._session_id}".encode()
        for directory in Path("/proc").iterdir():
            if not directory.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                is_member = os.getpgid(int(directory.name)) == group
                if is_member and marker in (directory / "environ").read_bytes().split(b"\0"):
                    return True
        return False


def read_interpreter(text: str) -> tuple[str, ...]:
    """The command that runs a script: what its first line names after "#!", else sh.

    Raises ValueError if that line cannot be read as a command.
    """
    first = text.split("\n", 1)[0]
    words = tuple(shlex.split(first[2:])) if first.startswith("#!") else ()
    return words or ("/bin/sh",)


@contextlib.contextmanager
def _script_file(script: Script, directory: Path) -> Generator[Path]:
    """The script's text in a file, while it runs; also makes the directory it runs in."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="warmpool-script-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(script.text)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _open_log(
    directory: Path, log_path: str, env: Mapping[str, str], opened: contextlib.ExitStack
) -> int:
    """The file a script writes to, closed with `opened` once the script has its own."""
    if log_path.startswith("~/") and (home := env.get("HOME")):
        log_path = home + log_path[1:]
    path = directory / log_path
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    opened.callback(os.close, descriptor)
    return descriptor


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
