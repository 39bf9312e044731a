"""The three services as processes, with the environment the Compose file gives them: its names,
secrets, certificates and nkeys, at a nats-server with the permissions of `deploy/nats`. Only where
things are is another place: loopback instead of containers.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from pathlib import Path

import pytest

from testkit.eventually import eventually
from testkit.installation import Installation, NatsSite
from testkit.postgres import DatabaseFactory

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("reconciler", "agentgw", "provisionerd")


def scrape(installation: Installation, service: str) -> set[str]:
    """The names of our series that a service shows, by what its log says of where."""
    lines = installation.said(service)
    [port] = [line["port"] for line in lines if line["message"] == "Metrics are served."]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return set(re.findall(r"^((?:coderd|warmpool|grpc_server)_\w+)", text, re.M))


def series_of_the_catalogue() -> set[str]:
    """What alerts and the dashboard may ask for."""
    metrics = json.loads((ROOT / "deploy" / "observability" / "metrics.json").read_text("utf-8"))
    return {
        f"{metric['name']}{suffix}"
        for metric in metrics
        for suffix in (("_bucket", "_sum", "_count") if metric["kind"] == "histogram" else ("",))
    }


async def test_the_services_work_together_with_what_is_shipped(
    site: NatsSite, database: DatabaseFactory, tmp_path: Path
) -> None:
    secrets = shutil.copytree(site.secrets, tmp_path / "secrets")
    (secrets / "database-url").write_text(await database())
    places = {"nats": site.url.removeprefix("tls://")}
    installation = Installation(secrets, tmp_path, places)
    migrated = await installation.migrate()
    assert migrated.returncode == 0, migrated.stdout

    async with installation:
        await installation.start("reconciler")
        await installation.start("agentgw")
        # whether Terraform is here or not
        await installation.start("provisionerd", WARMPOOL_PROVISIONERD_PROVISIONERS="process")
        said = await installation.ask("doctor")

        assert re.search(r"^ok +nats +connected", said.stdout, re.M), said.stdout + said.stderr
        assert re.search(r"^ok +provisioners +1 connected", said.stdout, re.M), said.stdout
        # the tests' Postgres trades safety for speed, and doctor says so
        ills = re.findall(r"^fail +(\S+) +(\w+)", said.stdout, re.M)
        assert {ill for ill in ills if ill[0] != "postgres"} == set(), said.stdout
        assert (await installation.ask("pool", "list")).returncode == 0

        def all_figures() -> set[str]:
            found = {name for service in SERVICES for name in scrape(installation, service)}
            assert "warmpool_jobs_pending" in found  # read in the background
            return found

        shown = await eventually(all_figures)
        assert shown - series_of_the_catalogue() == set()
        assert len(shown) >= 15
    for service in SERVICES:
        lines = installation.said(service)
        assert lines
        assert "ERROR" not in {line["level"] for line in lines}, lines
