"""One child process in a session of its own, tied to our life, its output in a file.

Promise: when this process ends, however it ends, the kernel tells the child (Linux). The process
must be started from a thread that lives as long as the child should: the main one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded._steps import Steps, steps_in

__all__ = ["Child", "Identity", "open_log", "spawn"]

LAUNCHER = Path(__file__).with_name("_launch.py")
LOG_ROTATE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user a child runs as. `capability` survives the change of user; -1 is none."""

    uid: int = -1
    gid: int = -1
    capability: int = -1


SAME_USER = Identity()


class Child:
    """A running child."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._popen = popen

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group and session."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative is a signal; None while it runs."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """Signals the child alone; nothing happens if it has ended."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def freeze(self) -> None:
        """Stops the child alone; returns when all its threads stand still, or it has ended."""
        self.signal(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def signal_group(self, number: signal.Signals) -> None:
        """Signals the child and what it started in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def ended(self, seconds: float) -> Steps:
        """Waits until it has ended, at most so long."""
        for _ in steps_in(seconds):
            if self.exit_code is not None:
                return
            yield

    def reap(self, seconds: float) -> None:
        """Waits for one that was told to end at once, so that its number is free again."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)

    def stopped(self, number: signal.Signals, grace_seconds: float) -> Steps:
        """Asks the child to end; after `grace_seconds` ends its whole group."""
        self.signal(number)
        self.signal(signal.SIGCONT)
        yield from self.ended(grace_seconds)
        self.signal_group(signal.SIGKILL)
        yield from self.ended(10)


def spawn(
    name: str,
    command: Sequence[str],
    *,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    directory: Path | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    identity: Identity = SAME_USER,
) -> Child:
    """Starts a child. Its output is appended to the log file."""
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(death_signal))]
    user = [str(identity.uid), str(identity.gid), str(identity.capability)]
    with open_log(log_path) as log:
        popen = subprocess.Popen(
            [*launch, *user, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=directory,
            start_new_session=True,
        )
    return Child(name, popen)


@contextlib.contextmanager
def open_log(path: Path) -> Generator[int]:
    """Opens a 0600 log file to append to; one that has grown large is set aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_ROTATE_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
