"""A whole service process: settings, port file, metrics, log, traces, signals, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from svckit.channel import open_channel
from testkit.eventually import eventually
from warmpool.control.v1 import system_pb2
from warmpool.control.v1.system_pb2_grpc import SystemServiceStub

pytestmark = pytest.mark.integration

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
WAIT_SECONDS = 20.0

PROGRAM = """
import asyncio
from svckit.addresses import write_port_file
from svckit.errors import NotFound
from svckit.log import get_logger
from svckit.rungroup import run
from svckit.server import GrpcServer
from svckit.settings import ServiceSettings
from svckit.telemetry import current_traceparent
from warmpool.control.v1 import system_pb2, system_pb2_grpc

log = get_logger("sample")

class Settings(ServiceSettings):
    service = "sample"
    mode: str = "serve"

class System(system_pb2_grpc.SystemServiceServicer):
    def __init__(self, mode):
        self.mode = mode
    async def GetSystem(self, request, context):
        log.info("Asked.", action="serve", count=1)
        return system_pb2.GetSystemResponse(version=current_traceparent())
    async def WhoAmI(self, request, context):
        if self.mode == "hang":
            log.info("Hanging.")
            await asyncio.Event().wait()
        raise NotFound("nobody")

class Anyone:
    async def authorize(self, method, permission, token):
        return token

async def main(settings, group):
    async def forever():
        await asyncio.Event().wait()
    async def returns():
        pass
    group.start("steady", forever)
    if settings.mode == "bug":
        group.start("short", returns)
    add = system_pb2_grpc.add_SystemServiceServicer_to_server
    services = [lambda server: add(System(settings.mode), server)]
    server = GrpcServer(settings.listen, services, Anyone(), settings.tls())
    write_port_file(settings.port_file, await server.start())
    try:
        await group.stopping.wait()
    finally:
        await server.stop(settings.drain_seconds)

run(Settings, main)
"""

Launch = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncGenerator[Launch]:
    """Starts the sample service; kills what is left of it after the test."""
    program = tmp_path / "sample.py"
    program.write_text(PROGRAM, encoding="utf-8")
    started: list[Process] = []

    async def launch_with(*argv: str, **environ: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program), *argv),
            env={"PATH": os.environ["PATH"], **environ},
            stdout=PIPE,
            stderr=PIPE,
        )
        started.append(process)
        return process

    yield launch_with
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finish(process: Process) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, log lines and stderr."""
    async with asyncio.timeout(WAIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


async def read_port(port_file: Path) -> int:
    def written() -> int:
        assert port_file.exists()
        return int(port_file.read_text(encoding="ascii"))

    return await eventually(written)


async def read_message(process: Process, message: str) -> dict[str, Any]:
    """The next log line with that message."""
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            line = json.loads(await process.stdout.readline())
            if line["message"] == message:
                return line


METHODS = (
    "warmpool.control.v1.SystemService/GetSystem",
    "warmpool.control.v1.SystemService/WhoAmI",
)


async def test_a_service_serves_measures_traces_logs_and_drains(
    launch: Launch, tmp_path: Path
) -> None:
    port_file = tmp_path / "port"
    process = await launch("--drain-seconds=5", WARMPOOL_SAMPLE_PORT_FILE=str(port_file))
    metrics = await read_message(process, "Metrics are served.")
    port = await read_port(port_file)

    channel = open_channel(f"http://127.0.0.1:{port}", token="t")
    stub = SystemServiceStub(channel)
    answer = await stub.GetSystem(
        system_pb2.GetSystemRequest(), timeout=10, metadata=(("traceparent", TRACEPARENT),)
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.WhoAmI(system_pb2.WhoAmIRequest(), timeout=10)

    async def measured() -> None:
        # An aborted call is measured just after its caller has the status.
        page = await asyncio.to_thread(scrape, metrics["port"])
        assert counted(page) == {
            ("warmpool.control.v1.SystemService/GetSystem", "OK", 1),
            ("warmpool.control.v1.SystemService/WhoAmI", "NOT_FOUND", 1),
        }
        assert calls(page, "grpc_server_call_started_total") == dict.fromkeys(METHODS, 1)
        assert calls(page, "grpc_server_call_open") == dict.fromkeys(METHODS, 0)

    await eventually(measured)
    await channel.close()
    process.send_signal(signal.SIGTERM)
    code, lines, err = await finish(process)

    # The handler runs in a span of its own within the caller's trace.
    assert answer.version.split("-")[1] == TRACE_ID
    assert answer.version != TRACEPARENT
    [asked] = [line for line in lines if line["message"] == "Asked."]
    assert asked.pop("time")
    assert asked == {
        "level": "INFO",
        "service": "sample",
        "logger": "sample",
        "message": "Asked.",
        "action": "serve",
        "count": 1,
        "trace_id": TRACE_ID,
        "span_id": answer.version.split("-")[2],
    }
    assert (code, err) == (0, "")


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return response.read().decode()


def calls(page: str, metric: str) -> dict[str, int]:
    """What the metric says of each method."""
    pattern = re.compile(rf'^{metric}\{{grpc_method="([^"]+)"\}} (\d+)', re.MULTILINE)
    return {method: int(count) for method, count in pattern.findall(page)}


def counted(page: str) -> set[tuple[str, str, int]]:
    """Method, status and count of each call duration."""
    pattern = re.compile(
        r'^grpc_server_call_duration_seconds_count\{grpc_method="([^"]+)",grpc_status="(\w+)"'
        r"[^}]*\} (\d+)",
        re.MULTILINE,
    )
    return {(method, status, int(count)) for method, status, count in pattern.findall(page)}


async def test_spans_reach_the_collector(launch: Launch, tmp_path: Path) -> None:
    exported: list[tuple[str, str]] = []

    async def export(request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                exported.extend((span.trace_id.hex(), span.name) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    collector = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        export,
        trace_service_pb2.ExportTraceServiceRequest.FromString,
        trace_service_pb2.ExportTraceServiceResponse.SerializeToString,
    )
    collector.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
            )
        ]
    )
    collector_port = collector.add_insecure_port("127.0.0.1:0")
    await collector.start()
    port_file = tmp_path / "port"
    process = await launch(
        *("--port-file", str(port_file)),
        *("--otlp-endpoint", f"http://127.0.0.1:{collector_port}"),
    )
    channel = open_channel(f"127.0.0.1:{await read_port(port_file)}", token="t")
    await SystemServiceStub(channel).GetSystem(
        system_pb2.GetSystemRequest(), timeout=10, metadata=(("traceparent", TRACEPARENT),)
    )
    await channel.close()
    process.send_signal(signal.SIGTERM)
    code, _, _ = await finish(process)
    await collector.stop(None)

    assert (code, exported) == (0, [(TRACE_ID, "warmpool.control.v1.SystemService/GetSystem")])


async def test_a_collector_that_is_away_does_not_hold_up_the_end(
    launch: Launch, tmp_path: Path, unused_tcp_port: int
) -> None:
    port_file = tmp_path / "port"
    process = await launch(
        *("--port-file", str(port_file)),
        *("--otlp-endpoint", f"http://127.0.0.1:{unused_tcp_port}"),
    )
    channel = open_channel(f"127.0.0.1:{await read_port(port_file)}", token="t")
    await SystemServiceStub(channel).GetSystem(system_pb2.GetSystemRequest(), timeout=10)
    await channel.close()
    process.send_signal(signal.SIGTERM)

    async with asyncio.timeout(6):  # 2 s for telemetry; the SDK alone would take 7.5 s
        code, _, _ = await finish(process)

    assert code == 0


async def test_a_loop_that_returns_ends_the_service_with_1_and_its_name(launch: Launch) -> None:
    code, lines, _ = await finish(await launch("--mode", "bug"))

    said = {(line["level"], line["message"], line.get("name")) for line in lines}
    assert ("ERROR", "A loop returned by itself, which is a bug.", "short") in said
    assert code == 1


async def test_a_taken_address_ends_the_service_with_1_and_one_line(
    launch: Launch, unused_tcp_port: int
) -> None:
    taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", unused_tcp_port)
    async with taken:
        code, lines, _ = await finish(await launch("--listen", f"127.0.0.1:{unused_tcp_port}"))

    failures = [line for line in lines if line["level"] == "ERROR"]
    assert [(line["message"], "traceback" in line) for line in failures] == [
        ("The service cannot start.", False)
    ]
    assert failures[0]["reason"].startswith(f"cannot listen on 127.0.0.1:{unused_tcp_port}: ")
    assert code == 1


async def test_a_wrong_setting_ends_the_service_with_2_and_one_line(launch: Launch) -> None:
    result = await finish(await launch(WARMPOOL_SAMPLE_DRAIN_SECONDS="soon"))

    line = (
        "sample: WARMPOOL_SAMPLE_DRAIN_SECONDS: 'soon' is not allowed: "
        "input should be a valid number, unable to parse string as a number\n"
    )
    assert result == (2, [], line)


async def test_a_second_signal_ends_the_service_at_once(launch: Launch, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    process = await launch("--port-file", str(port_file), "--mode=hang")
    channel = open_channel(f"127.0.0.1:{await read_port(port_file)}", token="t")
    endless = SystemServiceStub(channel).WhoAmI(system_pb2.WhoAmIRequest(), timeout=60)
    try:
        await read_message(process, "Hanging.")
        process.send_signal(signal.SIGINT)
        await read_message(process, "A signal: draining.")
        process.send_signal(signal.SIGTERM)
        code, lines, _ = await finish(process)
    finally:
        endless.cancel()
        await channel.close()

    assert (code, [line["message"] for line in lines]) == (
        128 + signal.SIGTERM,
        ["A second signal: ending at once."],
    )
