"""One real nats-server on a loopback port, for one machine.

Promises: only who has the token in `url` may connect; a port, once chosen, is kept from one `start`
to the next of the same object, so that clients find a restarted server again; the server ends with
this process, however it ends. Its log is `nats.log` in the directory. It keeps no messages: no
JetStream.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from pathlib import Path
from typing import cast

from embedded._binaries import find_nats_server
from embedded._child import Child, spawn
from embedded._steps import Steps, run_steps, run_steps_blocking, steps_in
from embedded.errors import StartFailed
from embedded.files import (
    LOOPBACK,
    DirectoryLock,
    make_directory,
    read_or_make_secret,
    write_private,
)

__all__ = ["EmbeddedNats"]

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
PAYLOAD_BYTES_MAX = 65_536  # a hint is small
ANY_PORT = -1


class EmbeddedNats:
    """A nats-server that belongs to this process. `port` 0 lets the kernel choose, once."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self._directory = directory.absolute()
        self._log_path = self._directory / "nats.log"
        self._lock = DirectoryLock(self._directory / "lock")
        self._port = port
        self._token = ""
        self._child: Child | None = None
        self._is_ending = False

    @property
    def url(self) -> str:
        """Where clients connect, token included."""
        return f"nats://{self._token}@{LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        """The port; 0 before the first start if none was asked for."""
        return self._port

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
        """Closes every connection and ends; repeating it is harmless."""
        await run_steps(self._stop())

    def stop_blocking(self) -> None:
        """`stop` for a thread without an event loop."""
        run_steps_blocking(self._stop())

    def _start(self) -> Steps:
        if self._child is not None and self._child.exit_code is None:
            return
        program = find_nats_server()
        make_directory(self._directory)
        self._lock.acquire()
        try:
            self._token = read_or_make_secret(self._directory / "token")
            ports = self._directory / "ports"
            shutil.rmtree(ports, ignore_errors=True)
            ports.mkdir(mode=0o700)
            config = self._directory / "nats.conf"
            write_private(config, self._configuration(ports))
            self._child = spawn(
                "nats-server",
                [str(program), "--config", str(config)],
                log_path=self._log_path,
                directory=self._directory,
                death_signal=signal.SIGKILL,  # it has nothing to lose, and may be frozen
            )
            yield from self._ready(self._child, ports)
        except BaseException:
            self._end_at_once()
            raise

    def _configuration(self, ports: Path) -> str:
        # JSON is valid in this format, and quotes what a path may hold
        return json.dumps(
            {
                "listen": f"{LOOPBACK}:{self._port or ANY_PORT}",
                "server_name": "warmpool",
                "authorization": {"token": self._token},
                "ports_file_dir": str(ports),
                "max_payload": PAYLOAD_BYTES_MAX,
                "logtime_utc": True,
            },
            indent=2,
        )

    def _ready(self, child: Child, ports: Path) -> Steps:
        for _ in steps_in(READY_SECONDS):
            if child.exit_code is not None:
                raise StartFailed(
                    "nats-server",
                    f"ended with {child.exit_code} before it was ready",
                    self._log_path,
                )
            for file in ports.glob(f"*_{child.pid}.ports"):
                with contextlib.suppress(ValueError):  # half-written
                    said = cast("dict[str, list[str]]", json.loads(file.read_text()))
                    self._port = int(said["nats"][0].rpartition(":")[2])
                    return
            yield
        raise StartFailed("nats-server", f"was not ready in {READY_SECONDS:.0f} s", self._log_path)

    def _stop(self) -> Steps:
        if self._child is None:
            return
        self._is_ending = True
        try:
            yield from self._child.stopped(signal.SIGTERM, STOP_SECONDS)
        finally:
            self._end_at_once()

    def _end_at_once(self) -> None:
        if self._child is not None:
            self._child.signal_group(signal.SIGKILL)
            self._child.reap(STOP_SECONDS)
            self._child = None
        self._is_ending = False
        self._lock.release()
