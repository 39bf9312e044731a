"""A web server that lets its clients wait: what `terraform init` and a plan ask it for is given
when the test wants it.
"""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["GateServer", "serve_gates"]

MODULE = b'output "nothing" {\n  value = ""\n}\n'
OUTPUTS = {"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "gate"}
WAIT_SECONDS = 600.0  # nobody waits longer, whatever a test forgot


class GateServer:
    """Gives a module at `/module.tar.gz` and a tfstate at `/outputs/...`. Both gates are open at
    first.
    """

    def __init__(self) -> None:
        self.url = ""
        self._gates = {"module": threading.Event(), "outputs": threading.Event()}
        self._waiting: list[str] = []
        for name in self._gates:
            self.open(name)

    def close(self, name: str) -> None:
        """Who comes from now on waits."""
        self._waiting.clear()
        self._gates[name].clear()

    def open(self, name: str) -> None:
        """Everybody may go on."""
        self._gates[name].set()

    def waiting(self) -> set[str]:
        """The paths that were asked for since a gate was closed, and wait, or did."""
        return set(self._waiting)

    def answer(self, path: str) -> bytes | None:
        """What is at a path; None if nothing is."""
        name = path.strip("/").partition("/")[0].partition(".")[0]
        if name not in self._gates:
            return None
        if not self._gates[name].is_set():
            self._waiting.append(path)
            self._gates[name].wait(WAIT_SECONDS)
        return _pack_module() if name == "module" else json.dumps(OUTPUTS).encode()


@contextmanager
def serve_gates() -> Generator[GateServer]:
    """Serves until the block is left, which opens both gates."""
    gates = GateServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, gates))
    gates.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gates
    finally:
        gates.open("module")
        gates.open("outputs")
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, gates: GateServer, *rest: Any) -> None:
        self._gates = gates
        super().__init__(*rest)

    def do_GET(self) -> None:
        content = self._gates.answer(self.path.partition("?")[0])
        with suppress(ConnectionError):  # who waited may be gone
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        with suppress(ConnectionError):
            self.send_response(200)
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _pack_module() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("main.tf")
        entry.size = len(MODULE)
        archive.addfile(entry, io.BytesIO(MODULE))
    return packed.getvalue()
