"""The gRPC server of every service.

Around each call, outermost first: metrics and trace, errors to status, drain, the client's
certificate, auth, deadline.

Shutdown (`stop`): health turns NOT_SERVING; callers that watch it have a moment to go elsewhere, in
which they are still served; then new calls are refused with UNAVAILABLE and a RetryInfo; calls
under way finish, up to the grace; the rest is cancelled; `stop` returns when the `finally` blocks
of all handlers have run, so that what they use can be closed next. A stream that would outlive the
grace should end by itself when `draining` is set: a peer that is told in-band reconnects elsewhere,
one that is cut off sees an error.

`hang_up` is for callers that do not watch health: instead of refusing it stops listening, and tells
every connection to go elsewhere with its next call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection as grpc_reflection

from svckit.addresses import parse_listen
from svckit.auth import Authorizer
from svckit.channel import MESSAGE_BYTES_MAX
from svckit.errors import StartFailed
from svckit.health import SERVICE_NAME, Health, serve_probes
from svckit.interceptors.around import AroundInterceptor
from svckit.interceptors.auth import authorize_calls
from svckit.interceptors.deadline import bound_calls
from svckit.interceptors.drain import Drain
from svckit.interceptors.errors import answer_errors
from svckit.interceptors.observe import observe_calls
from svckit.interceptors.peers import admit_peers
from svckit.log import get_logger
from svckit.readiness import Readiness
from svckit.system import Clock, SystemClock
from svckit.tls import TlsSettings

__all__ = ["LIVENESS", "GrpcServer", "TlsSettings"]

LIVENESS = "live"
"""The health name that stays SERVING while draining: for probes that kill what is sick."""

UNARY_SECONDS_MAX = 120.0  # above every client's own deadline; for clients that set none
# Between "not serving" and the first refusal, if anybody watches health: longer than our clients
# wait between two attempts to connect, so that they know our successor by then.
NOTICE_SECONDS = 1.5
LINGER_SECONDS = 0.1  # for what is on its way to peers, before connections are cut
CLEANUP_SECONDS_MAX = 5.0  # for the `finally` blocks of cancelled handlers

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Otherwise a second process on the same port silently swallows a share of the connections.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The one that bounds how long a frozen peer goes unnoticed; its default is 60 s.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Strictly below the clients' 30 s, or they are cut off for pinging too much.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

_log = get_logger(__name__)


class GrpcServer:
    """One server on one address."""

    def __init__(
        self,
        listen: str,
        services: Sequence[Callable[[grpc.aio.Server], None]],
        authorizer: Authorizer,
        tls: TlsSettings | None = None,
        reflection: bool = False,
        *,
        readiness: Readiness | None = None,
        clock: Clock | None = None,
        unary_seconds_max: float = UNARY_SECONDS_MAX,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        options: Iterable[tuple[str, int]] = (),
        health_listen: str = "",
    ) -> None:
        """Describe a server; `start` makes it.

        `listen` is "host:port" (port 0: any free one); each of `services` registers one servicer.
        `readiness` is told whether it serves.
        `options` are gRPC options that go on top of the standard ones (connection age, for
        example). At `health_listen`, if it is given, health is answered in plain text, too.
        """
        self._listen = listen
        self._health_listen = health_listen
        self._readiness = readiness or Readiness()
        self._services = services
        self._authorizer = authorizer
        self._tls = tls
        self._reflection = reflection
        self._clock = clock or SystemClock()
        self._unary_seconds_max = unary_seconds_max
        chosen = {
            **dict(_OPTIONS),
            "grpc.max_receive_message_length": message_bytes_max,
            "grpc.max_send_message_length": message_bytes_max,
            **dict(options),  # merged here: of an option given twice, gRPC takes the first
        }
        self._options: list[tuple[str, int]] = list(chosen.items())
        self._drain = Drain()
        self._health = Health()
        self._names: list[str] = []
        self._server: grpc.aio.Server | None = None
        self._probes: grpc.aio.Server | None = None
        self.health_port = 0
        """The port of `health_listen`, once started; 0 without one."""
        self.draining = asyncio.Event()
        """Set while new calls are refused. Long streams wait for it, then say goodbye and end."""

    async def start(self, *, serving: bool = True) -> int:
        """Listen and serve; the port. Raises StartFailed for an unusable address or TLS file.

        With `serving` False only health is answered, with NOT_SERVING, until `set_serving`.
        """
        names = self._tls.client_names if self._tls else ()
        server = grpc.aio.server(
            interceptors=[
                AroundInterceptor(
                    observe_calls(self._clock.monotonic),
                    answer_errors,
                    self._drain.count_calls,
                    *([admit_peers(names)] if names else []),
                    authorize_calls(self._authorizer),
                    bound_calls(self._unary_seconds_max),
                )
            ],
            options=self._options,
        )
        recorder = _NameRecorder(server)
        for register in self._services:
            register(cast("grpc.aio.Server", recorder))
        self._names = recorder.names
        self._health.register(server)
        if self._reflection:
            shown = [*self._names, SERVICE_NAME, grpc_reflection.SERVICE_NAME]
            grpc_reflection.enable_server_reflection(shown, server)
        port = self._bind(server)
        if self._health_listen:
            self._probes, self.health_port = await serve_probes(self._health, self._health_listen)
        self._server = server
        self.set_serving(serving)
        self._health.set(LIVENESS, True)
        await server.start()
        _log.info("The gRPC server serves.", action="start", address=self._listen, port=port)
        return port

    def set_serving(self, serving: bool) -> None:
        """Serve, or drain: say so to health checks and refuse new calls. Both can be undone."""
        self._drain.refusing = not serving
        if serving:
            self.draining.clear()
        else:
            self.draining.set()
        for name in ["", *self._names]:
            self._health.set(name, serving)
        self._readiness.set_serving(serving)

    def announce_drain(self) -> None:
        """Says to health checks that this server goes away, and serves on."""
        self.draining.set()
        for name in ["", *self._names]:
            self._health.set(name, False)
        self._readiness.set_serving(False)

    async def stop(self, grace_seconds: float) -> None:
        """Drain, then stop. Calls still under way after `grace_seconds` are cancelled."""
        server = self._server
        if server is None:
            return
        self._server = None
        if self._health.watchers and not self._drain.refusing:
            self.announce_drain()
            await self._clock.sleep(min(NOTICE_SECONDS, grace_seconds))
        self.set_serving(False)
        await self._wait_idle(grace_seconds)
        await self._end(server)

    async def hang_up(self, grace_seconds: float) -> None:
        """Stop listening and have peers connect elsewhere. Calls under way go on, and those after
        `grace_seconds` are cancelled.
        """
        server = self._server
        if server is None:
            return
        self._server = None
        self.announce_drain()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop(grace_seconds))
            await self._clock.sleep(min(LINGER_SECONDS, grace_seconds))
            await self._wait_idle(grace_seconds)
            await self._end(server)

    async def _wait_idle(self, grace_seconds: float) -> None:
        if not await self._drain.wait_idle(grace_seconds):
            _log.warning(
                "Calls outlived the drain and are cancelled.",
                action="stop",
                count=self._drain.calls,
                grace_seconds=grace_seconds,
            )

    async def _end(self, server: grpc.aio.Server) -> None:
        await server.stop(LINGER_SECONDS)  # a handler that has ended may not have been heard yet
        if not await self._drain.wait_idle(CLEANUP_SECONDS_MAX):
            _log.error("Cancelled calls did not clean up.", action="stop", count=self._drain.calls)
        if self._probes is not None:  # last: until here a probe is told that this is a drain
            await self._probes.stop(0)

    def _bind(self, server: grpc.aio.Server) -> int:
        try:
            parse_listen(self._listen)
            if self._tls is None:
                return server.add_insecure_port(self._listen)
            return server.add_secure_port(self._listen, self._tls.credentials())
        except (RuntimeError, ValueError) as error:
            raise StartFailed(f"cannot listen on {self._listen}: {error}") from error


class _NameRecorder:
    """Passes registrations on, and remembers the services' names for health and reflection."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        handlers = tuple(handlers)
        for handler in handlers:
            if isinstance(handler, grpc.ServiceRpcHandler):
                self.names.append(handler.service_name())
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._server.add_registered_method_handlers(service_name, method_handlers)
