"""A control plane that answers what it was told to, over real gRPC, for tests of clients.

`async with fake_control() as control` listens on a loopback port. `control.on("ListPools", answer)`
scripts a method by its bare name; the last answer of several stays. An answer is a message, a
`Refusal`, a `Stream`, or a function of the request that returns one of these. Every request is kept
in `control.requests`; a method without a script is UNIMPLEMENTED. Callers must show
`control.token`. It knows no rules of the real one and checks nothing else. Supported.

`python -m testkit.fake_control` serves in place of the reconciler, for tests of what starts it: it
takes the reconciler's LISTEN, PORT_FILE and BOOTSTRAP_OWNER_TOKEN_FILE, and tells of a provisioner.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from warmpool.control.v1 import people_pb2, pools_pb2, system_pb2, templates_pb2, workspaces_pb2

__all__ = ["FakeControl", "Refusal", "Stream", "fake_control"]

TOKEN = "a-token-for-tests"
_FILES: tuple[FileDescriptor, ...] = (
    people_pb2.DESCRIPTOR,
    pools_pb2.DESCRIPTOR,
    system_pb2.DESCRIPTOR,
    templates_pb2.DESCRIPTOR,
    workspaces_pb2.DESCRIPTOR,
)
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A status instead of an answer."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Messages, then a refusal if there is one, else silence if `stays`, else the end."""

    messages: Iterable[Message]
    then: Refusal | None = None
    stays: bool = False


Answer = Message | Refusal | Stream
Script = Answer | Callable[[Any], Answer]


@dataclass(slots=True)
class FakeControl:
    """The scripts, and what was asked."""

    token: str = TOKEN
    address: str = ""
    requests: list[Message] = field(default_factory=list[Message])
    streams_held: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for every stream that has said all and stays open."""
    _scripts: dict[str, list[Script]] = field(default_factory=dict[str, list[Script]])

    def on(self, method: str, *answers: Script) -> None:
        """Scripts a method, for example "CreateWorkspace"; replaces an older script."""
        known = {
            m.name for file in _FILES for s in file.services_by_name.values() for m in s.methods
        }
        if method not in known:
            raise ValueError(f"no method is named {method!r}; known: {', '.join(sorted(known))}")
        self._scripts[method] = list(answers)

    def asked(self, kind: type[Message]) -> list[Message]:
        """The requests of one type, in order."""
        return [request for request in self.requests if isinstance(request, kind)]

    def answer_to(self, method: str, request: Message) -> Answer:
        """What the script says now."""
        script = self._scripts.get(method)
        if not script:
            return Refusal(code=grpc.StatusCode.UNIMPLEMENTED, message=f"{method} is not scripted")
        answer = script.pop(0) if len(script) > 1 else script[0]
        return answer(request) if callable(answer) else answer


@asynccontextmanager
async def fake_control(listen: str = "127.0.0.1:0") -> AsyncGenerator[FakeControl]:
    """A control plane that listens for as long as the block runs."""
    control = FakeControl()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    for file in _FILES:
        for service in file.services_by_name.values():
            handlers = {method.name: _handler(control, method) for method in service.methods}
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service.full_name, handlers),)
            )
    port = server.add_insecure_port(listen)
    control.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield control
    finally:
        await server.stop(0)


def _handler(control: FakeControl, method: MethodDescriptor) -> Any:
    async def unary(request: Any, context: Context) -> Message:
        await _check_token(control, context)
        received = await _last_of(control, request)
        answer = control.answer_to(method.name, received)
        if isinstance(answer, Message):
            return answer
        return await _refuse(context, answer if isinstance(answer, Refusal) else answer.then)

    async def stream(request: Message, context: Context) -> AsyncGenerator[Message]:
        await _check_token(control, context)
        control.requests.append(request)
        answer = control.answer_to(method.name, request)
        if isinstance(answer, Refusal):
            await _refuse(context, answer)
        elif isinstance(answer, Stream):
            for message in answer.messages:
                yield message
            if answer.then is not None:
                await _refuse(context, answer.then)
            if answer.stays:
                control.streams_held.release()
                await asyncio.Event().wait()
        else:
            yield answer

    deserialize = GetMessageClass(method.input_type).FromString

    def serialize(message: Message) -> bytes:
        return message.SerializeToString()

    if method.server_streaming:
        make: Any = grpc.unary_stream_rpc_method_handler
        return make(stream, deserialize, serialize)
    make = (
        grpc.stream_unary_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(unary, deserialize, serialize)


async def _last_of(control: FakeControl, request: Any) -> Message:
    """Keeps every message of a request; a script sees the last one of a stream."""
    if isinstance(request, Message):
        control.requests.append(request)
        return request
    async for part in cast("AsyncIterator[Message]", request):
        control.requests.append(part)
    return control.requests[-1]


async def _check_token(control: FakeControl, context: Context) -> None:
    sent = dict(context.invocation_metadata() or ()).get("authorization")
    if sent != f"Bearer {control.token}":
        await _refuse(
            context,
            Refusal(
                code=grpc.StatusCode.UNAUTHENTICATED,
                message="the token is not known",
                reason="TOKEN_UNKNOWN",
            ),
        )


async def _refuse(context: Context, refusal: Refusal | None) -> Any:
    refusal = refusal or Refusal(code=grpc.StatusCode.INTERNAL, message="a stream was scripted")
    details: list[AnyMessage] = []
    for detail in (
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain="warmpool"),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field=refusal.field, description=refusal.message
                )
            ]
            if refusal.field
            else []
        ),
    ):
        packed = AnyMessage()
        packed.Pack(detail)
        details.append(packed)
    number = cast("tuple[int, str]", refusal.code.value)[0]
    status = status_pb2.Status(code=number, message=refusal.message, details=details)
    to_status = cast("Any", rpc_status).to_status
    await context.abort_with_status(to_status(status))


async def _serve(token: str) -> None:
    port_file = Path(os.environ["WARMPOOL_RECONCILER_PORT_FILE"])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with fake_control(os.environ["WARMPOOL_RECONCILER_LISTEN"]) as control:
        control.token = token
        worker = system_pb2.ProvisionerWorker(
            id="1", name="local", version="0.1.0", provisioner_types=["terraform", "process"]
        )
        control.on(
            "GetSystem", system_pb2.GetSystemResponse(version="0.1.0", provisioners=[worker])
        )
        control.on("ListPools", pools_pb2.ListPoolsResponse())
        control.on("WhoAmI", system_pb2.WhoAmIResponse(username="admin", roles=["owner"]))
        part = port_file.with_suffix(".part")
        part.write_text(control.address.rpartition(":")[2] + "\n")
        part.replace(port_file)
        await ended.wait()


if __name__ == "__main__":
    token_file = Path(os.environ["WARMPOOL_RECONCILER_BOOTSTRAP_OWNER_TOKEN_FILE"])
    asyncio.run(_serve(token_file.read_text().strip()))
