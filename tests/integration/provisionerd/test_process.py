"""`python -m provisionerd` as an operator runs it: settings, readiness, metrics, signals, crash."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from provisionerd.terraform.tfstate import read_tfstate
from provisionerd.wiring.service import serve
from provisionerd.wiring.settings import ProvisionerdSettings
from svckit.errors import StartFailed
from svckit.rungroup import RunGroup
from svckit.settings import load_settings
from testkit.fake_agents import fake_agents
from testkit.fake_reconciler_jobs import FakeReconciler, fake_reconciler

pytestmark = pytest.mark.integration

# a template whose setup never ends by itself
ENDLESS = """
[workspace]
setup = "sleep 600"

[[agents]]
name = "main"
"""

ENDLESS_TF = """
resource "terraform_data" "made" {}
resource "terraform_data" "endless" {
  depends_on = [terraform_data.made]
  provisioner "local-exec" {
    command = "$WARMPOOL_AGENT_COMMAND; true"
  }
}
"""


@dataclass(slots=True, kw_only=True)
class Machine:
    """Where a worker runs."""

    directory: Path
    fake: FakeReconciler
    metrics_port: int
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def environment(self) -> dict[str, str]:
        """The worker's environment."""
        return {
            **os.environ,
            "WARMPOOL_PROVISIONERD_RECONCILER_ADDRESS": self.fake.address,
            "WARMPOOL_PROVISIONERD_KEY_FILE": str(self.directory / "key"),
            "WARMPOOL_PROVISIONERD_DATA_DIR": str(self.directory / "data"),
            "WARMPOOL_PROVISIONERD_PORT_FILE": str(self.directory / "port"),
            "WARMPOOL_PROVISIONERD_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "WARMPOOL_PROVISIONERD_PROVISIONERS": "process",
            "WARMPOOL_PROVISIONERD_NAME": "here",
            "WARMPOOL_PROVISIONERD_SLOTS": "3",
            "WARMPOOL_PROVISIONERD_TAGS": "zone=a,gpu=no",
            **self.settings,
        }

    @asynccontextmanager
    async def start(self, *flags: str) -> AsyncGenerator[Process]:
        """A worker's process; gone when the block is left."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "provisionerd", *flags),
            env=self.environment,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def health(self) -> int:
        """What a health check says."""
        port = int((self.directory / "port").read_text())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = await check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)
            return int(answer.status)

    async def metrics(self) -> dict[str, float]:
        """What Prometheus reads, by name; labels are left out."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())
        lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
        return {re.split("[{ ]", line)[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncGenerator[Machine]:
    (tmp_path / "key").write_text("the-key\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    async with fake_reconciler() as fake:
        yield Machine(directory=tmp_path, fake=fake, metrics_port=port)


async def test_a_worker_registers_serves_health_and_metrics_and_ends_on_request(
    machine: Machine,
) -> None:
    async with machine.start() as process:
        # WHEN it has registered
        await machine.fake.until(lambda: machine.fake.wants)
        (said,) = machine.fake.registered
        assert (said.name, dict(said.tags)) == ("here", {"zone": "a", "gpu": "no"})
        assert (list(said.provisioner_types), machine.fake.wants) == (["process"], [3])
        assert machine.fake.tokens == {"the-key"}
        # THEN it is ready
        job = machine.fake.post(provisioner_type="process", files={"main.tf": "# not ours\n"})
        await machine.fake.until(lambda: sum(machine.fake.wants) == 4)  # its slot is free again
        assert await machine.health() == health_pb2.HealthCheckResponse.SERVING
        values = await machine.metrics()
        assert values["warmpool_ready"] in (0.0, 1.0)  # the fake answers no health check
        assert values["warmpool_provisioner_slots"] == 3.0
        assert values["warmpool_provisioner_jobs_total"] == 1.0
        assert values["warmpool_provisioner_job_seconds_count"] == 1.0
        # AND ends when asked
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert b"the-key" not in out
    assert job.failed is not None
    assert job.failed.reason == "VALIDATION"
    assert (machine.directory / "data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("settings", "flags", "code", "text"),
    [
        ({}, ("--slots", "0"), 2, "--slots"),
        ({"WARMPOOL_PROVISIONERD_PROVISIONERS": "docker"}, (), 2, "PROVISIONERS"),
        ({}, ("--reconciler-address", "nowhere"), 1, "nowhere"),
        ({"WARMPOOL_PROVISIONERD_KEY_FILE": "/nowhere/key"}, (), 1, "/nowhere/key"),
        (
            {
                "WARMPOOL_PROVISIONERD_PROVISIONERS": "terraform",
                "WARMPOOL_PROVISIONERD_TERRAFORM_PATH": "/nowhere/terraform",
            },
            (),
            1,
            "/nowhere/terraform",
        ),
    ],
)
async def test_a_wrong_setting_ends_it_with_a_sentence(
    machine: Machine, settings: dict[str, str], flags: tuple[str, ...], code: int, text: str
) -> None:
    machine.settings.update(settings)
    async with machine.start(*flags) as process:
        out, err = await process.communicate()
    said = (out + err).decode()
    assert process.returncode == code, said
    assert text in said
    assert "Traceback" not in said


async def test_a_key_goes_to_another_machine_in_clear_only_if_that_was_said(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("the worker's key\n")
    settings = load_settings(
        ProvisionerdSettings,
        [
            "--reconciler-address=reconciler.test:7080",
            f"--key-file={key_file}",
            f"--data-dir={tmp_path}",
            "--provisioners=process",
        ],
    )

    with pytest.raises(StartFailed) as caught:
        await serve(settings, RunGroup())

    assert str(caught.value) == (
        "reconciler_address: reconciler.test:7080 is on another machine and not encrypted: the"
        " token would cross the network in clear; use https:// and reconciler_ca_file, or set"
        " allow_plaintext where something else encrypts"
    )


async def test_two_workers_cannot_share_a_data_directory(machine: Machine) -> None:
    async with machine.start():
        await machine.fake.until(lambda: machine.fake.registered)
        async with machine.start("--metrics-listen", "") as second:
            out, _ = await second.communicate()
    assert second.returncode == 1
    assert b"in use by another provisionerd" in out


async def test_a_worker_that_is_ended_by_force_leaves_nothing_that_hurts(machine: Machine) -> None:
    # GIVEN a job under way
    job = machine.fake.post(provisioner_type="process", files={"warmpool.toml": ENDLESS})
    async with machine.start() as process:
        await machine.fake.until(lambda: job.heartbeats[1] >= 2)
        # WHEN its worker is ended by force
        process.kill()
        await process.communicate()
    # THEN the next one hands it back, and runs it when it is offered again
    machine.fake.requeue_released = True
    async with machine.start() as process:
        await machine.fake.until(lambda: job.heartbeats[2] >= 2)
        assert job.released is not None
        assert job.released.reason == "the worker was restarted"
        job.cancel = True
        await machine.fake.until(lambda: job.failed)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    left = {path.name for path in (machine.directory / "data" / "jobs").iterdir()}
    assert left == {".lock"}


@pytest.mark.terraform
async def test_what_terraform_made_for_a_worker_that_was_ended_by_force_is_known(
    machine: Machine,
) -> None:
    machine.settings["WARMPOOL_PROVISIONERD_PROVISIONERS"] = "terraform"
    async with fake_agents(str(machine.directory)) as agents:
        machine.settings["WARMPOOL_AGENT_COMMAND"] = agents.command
        # GIVEN a build that has made one resource and is busy with the next
        job = machine.fake.post(provisioner_type="terraform", files={"main.tf": ENDLESS_TF})
        async with machine.start() as process:
            running = await agents.arrival()
            # WHEN its worker is ended by force
            process.kill()
            await process.communicate()
        # THEN the next one ends terraform, and tells of the resource
        async with machine.start():
            await machine.fake.until(lambda: job.released)
            await agents.departure(running)
    assert [each.name for each in read_tfstate(job.uploads[-1]).managed if each.name == "made"]
