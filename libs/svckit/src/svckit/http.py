"""The pages for operators: /metrics for Prometheus and /readyz for people and probes.

They are served from threads of their own, so they answer while the loop is busy.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, ClassVar, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, exposition

from svckit.addresses import parse_listen
from svckit.errors import StartFailed
from svckit.readiness import Readiness

__all__ = ["READY_PATH", "serve_pages"]

READY_PATH = "/readyz"

_Environ = dict[str, Any]
_Start = Callable[..., Any]
_Application = Callable[[_Environ, _Start], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleVariableOverride]


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A scrape is nothing to write about."""


def serve_pages(listen: str, registry: CollectorRegistry, readiness: Readiness) -> WSGIServer:
    """Serves until `shutdown`. Raises StartFailed if it cannot listen."""
    host, port = parse_listen(listen)
    metrics = cast("_Application", exposition.make_wsgi_app(registry))  # pyright: ignore[reportUnknownMemberType]

    def answer(environ: _Environ, start: _Start) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != READY_PATH:
            return metrics(environ, start)
        status = "200 OK" if readiness.is_ready else "503 Service Unavailable"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [readiness.report().encode()]

    try:
        server = make_server(
            host, port, answer, _ServerV6 if ":" in host else _Server, handler_class=_Quiet
        )
    except OSError as error:
        raise StartFailed(f"cannot serve metrics on {listen}: {error}") from error
    threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
    return server
