"""One real Postgres in a directory, for one machine.

`EmbeddedPostgres(directory)` initialises the directory once and serves it until `stop`, or until
this process ends, however it ends. Clients connect through a Unix socket, with a password.

Promises: what was committed survives a crash of either process, unless `fast=True`, which trades
that for speed and is for tests; one process at a time has a directory; what a crash left behind is
cleaned up by the next start. Works as root (the server then runs as `nobody`) and as any other
user. Postgres's own log is `postgres.log` in the directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from urllib.parse import quote

from embedded._binaries import find_postgres
from embedded._child import Child, spawn
from embedded._identity import choose_identity, give
from embedded._proc import find_working_in, is_running
from embedded._steps import Steps, run_steps, run_steps_blocking, steps_in
from embedded.errors import StartFailed
from embedded.files import (
    DirectoryLock,
    make_directory,
    read_or_make_secret,
    sync_directory,
    write_private,
)

__all__ = ["EmbeddedPostgres"]

USER = "warmpool"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 103  # 107 on Linux, 103 on macOS
INIT_SECONDS = 120.0
READY_SECONDS = 120.0  # a crash may leave much to replay
STOP_SECONDS = 30.0
LEFT_SECONDS = 10.0
READY_LINE = 7  # of postmaster.pid: the server's own word on how far it is

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "log_statement": "none",
    "unix_socket_permissions": "0700",
}
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1h",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1d",
}


class EmbeddedPostgres:
    """A Postgres that belongs to this process. `start` and `stop` may be repeated in turn.

    `settings` are added to the server's configuration, such as {"max_connections": "400"}.
    """

    def __init__(
        self, directory: Path, *, fast: bool = False, settings: dict[str, str] | None = None
    ) -> None:
        self._directory = directory.absolute()
        self._settings = SETTINGS | (FAST_SETTINGS if fast else {}) | (settings or {})
        self._fast = fast
        self._data = self._directory / "data"
        self._log_path = self._directory / "postgres.log"
        self._lock = DirectoryLock(self._directory / "lock")
        self._socket_directory = self._directory / "run"
        self._password = ""
        self._child: Child | None = None
        self._is_ending = False

    @property
    def url(self) -> str:
        """The DSN of the database `postgres`, password included."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The DSN of a database of this server, whether it exists or not."""
        host = quote(str(self._socket_directory), safe="/")
        return f"postgresql://{USER}:{self._password}@/{quote(database)}?host={host}"

    @property
    def socket_path(self) -> Path:
        """The socket it listens on."""
        return self._socket_directory / SOCKET_NAME

    @property
    def pid(self) -> int:
        """The server's process id; 0 while it is not started."""
        return self._child.pid if self._child else 0

    @property
    def exit_code(self) -> int | None:
        """How the server ended if it ended by itself; None while it runs or is not started, and
        from the moment `stop` is called.
        """
        return self._child.exit_code if self._child and not self._is_ending else None

    async def start(self) -> None:
        """Returns when it takes connections; DirectoryInUse, StartFailed or Unsupported if not."""
        await run_steps(self._start())

    def start_blocking(self) -> None:
        """`start` for a thread without an event loop."""
        run_steps_blocking(self._start())

    async def stop(self) -> None:
        """Closes every connection, writes everything down and ends; repeating it is harmless."""
        await run_steps(self._stop())

    def stop_blocking(self) -> None:
        """`stop` for a thread without an event loop."""
        run_steps_blocking(self._stop())

    def _start(self) -> Steps:
        if self._child is not None and self._child.exit_code is None:
            return
        binaries = find_postgres()
        make_directory(self._directory, 0o711)
        self._lock.acquire()
        try:
            identity = choose_identity(binaries / "postgres", self._data)
            self._password = read_or_make_secret(self._directory / "password")
            yield from self._end_what_a_crash_left()
            self._make_socket_directory()
            give(self._socket_directory, identity)
            if not self._data.exists():
                yield from self._initialise(binaries)
            self._child = spawn(
                "postgres",
                [str(binaries / "postgres"), "-D", str(self._data), *self._options()],
                log_path=self._log_path,
                directory=self._directory,
                death_signal=signal.SIGINT,  # its fast shutdown
                identity=identity,
            )
            yield from self._ready(self._child)
        except BaseException:
            if self._child is not None:
                self._child.signal_group(signal.SIGQUIT)
                self._child.reap(STOP_SECONDS)
                self._child = None
            self._lock.release()
            raise

    def _options(self) -> list[str]:
        settings = self._settings | {"unix_socket_directories": f'"{self._socket_directory}"'}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _initialise(self, binaries: Path) -> Steps:
        """Makes the data directory in another place and moves it: it exists whole or not at all."""
        identity = choose_identity(binaries / "initdb", self._data)
        workplace = self._directory / "init"
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir(mode=0o700)
        password_file = workplace / "password"
        write_private(password_file, self._password + "\n")
        give(password_file, identity)
        give(workplace, identity)
        command = [str(binaries / "initdb"), "--pgdata", str(workplace / "data")]
        command += ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--no-locale", "--no-instructions"]
        child = spawn(
            "initdb",
            command + (["--no-sync"] if self._fast else []),
            log_path=self._log_path,
            directory=self._directory,
            death_signal=signal.SIGKILL,
            identity=identity,
        )
        try:
            yield from child.ended(INIT_SECONDS)
            if child.exit_code is None:
                raise StartFailed("initdb", f"took more than {INIT_SECONDS:.0f} s", self._log_path)
            if child.exit_code != 0:
                raise StartFailed("initdb", f"ended with {child.exit_code}", self._log_path)
        finally:
            child.signal_group(signal.SIGKILL)
            child.reap(STOP_SECONDS)
        (workplace / "data").rename(self._data)
        sync_directory(self._directory)
        shutil.rmtree(workplace)

    def _ready(self, child: Child) -> Steps:
        pid_file = self._data / "postmaster.pid"
        for _ in steps_in(READY_SECONDS):
            if child.exit_code is not None:
                raise StartFailed(
                    "postgres", f"ended with {child.exit_code} before it was ready", self._log_path
                )
            with contextlib.suppress(FileNotFoundError):
                lines = pid_file.read_text().splitlines()
                if lines[0:1] == [str(child.pid)] and lines[READY_LINE:] and "ready" in lines[-1]:
                    return
            yield
        raise StartFailed("postgres", f"was not ready in {READY_SECONDS:.0f} s", self._log_path)

    def _stop(self) -> Steps:
        if self._child is None:
            return
        self._is_ending = True
        try:
            yield from self._child.stopped(signal.SIGINT, STOP_SECONDS)
        finally:
            self._child.signal_group(signal.SIGKILL)
            self._child.reap(STOP_SECONDS)
            self._child = None
            self._is_ending = False
            if self._socket_directory.parent != self._directory:
                shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._lock.release()

    def _end_what_a_crash_left(self) -> Steps:
        """Waits for the processes of an earlier run; we have the lock, so nobody owns them.

        A server that lost its owner is on its way out; one that is not is pushed.
        """
        for push in (None, signal.SIGQUIT, signal.SIGKILL):
            for pid in self._left_behind() if push else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, push or signal.SIGQUIT)
            for _ in steps_in(LEFT_SECONDS):
                if not self._left_behind():
                    # its number may belong to somebody else by now, and Postgres would refuse
                    (self._data / "postmaster.pid").unlink(missing_ok=True)
                    return
                yield

    def _left_behind(self) -> tuple[int, ...]:
        return tuple(pid for pid in find_working_in(self._data) if is_running(pid))

    def _make_socket_directory(self) -> None:
        """Makes it in the directory, or, if that path is too long for a socket, elsewhere."""
        note = self._directory / "run.elsewhere"
        if note.exists():  # made by a run that crashed
            shutil.rmtree(note.read_text().strip(), ignore_errors=True)
            note.unlink()
        wanted = self._directory / "run"
        if len(os.fsencode(wanted / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
            shutil.rmtree(wanted, ignore_errors=True)
            wanted.mkdir(mode=0o700)
            self._socket_directory = wanted
        else:
            self._socket_directory = Path(tempfile.mkdtemp(prefix="warmpool-"))
            write_private(note, f"{self._socket_directory}\n")
