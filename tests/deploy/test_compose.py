"""The Compose file is one, and says the same as the services it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentgw.wiring.gateway import STOP_GRACE_SECONDS
from svckit.addresses import parse_listen
from svckit.server import CLEANUP_SECONDS_MAX
from svckit.settings import ServiceSettings, parse_settings
from svckit.settings_sources import variable_name
from svckit.telemetry import CLOSE_SECONDS_MAX

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("reconciler", "agentgw", "provisionerd")
ENDING_SECONDS = STOP_GRACE_SECONDS + CLEANUP_SECONDS_MAX + CLOSE_SECONDS_MAX + 5.0
Settings = dict[str, type[ServiceSettings]]


@pytest.fixture(scope="module")
def compose(load_yaml: Callable[[str], Any]) -> Mapping[str, Any]:
    return load_yaml("deploy/compose.yaml")


def _environment(service: Mapping[str, Any]) -> dict[str, str]:
    """With the defaults of the variables that the operator may set."""
    return {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for name, value in service["environment"].items()
    }


def test_the_schema_of_compose_takes_it() -> None:
    tool = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
    run = subprocess.run(
        [tool, "--builtin-schema", "vendor.compose-spec", ROOT / "deploy" / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_variables_are_settings_with_allowed_values(
    compose: Mapping[str, Any], settings: Settings, name: str
) -> None:
    environment = _environment(compose["services"][name])
    known = {variable_name(name, field) for field in settings[name].model_fields}

    assert {key for key in environment if key.startswith("WARMPOOL_")} - known == set()
    parse_settings(settings[name], [], environment)


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_files_that_are_named_are_secrets_that_are_given(
    compose: Mapping[str, Any], name: str
) -> None:
    service = compose["services"][name]
    named = {v for k, v in service["environment"].items() if k.endswith("_FILE")}
    assert named == {f"/run/secrets/{secret}" for secret in service["secrets"]}
    assert set(service["secrets"]) <= set(compose["secrets"])


def test_secrets_are_made_by_the_tool(compose: Mapping[str, Any], tmp_path: Path) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(tmp_path / "secrets")]
    for _ in range(2):  # a second run leaves all alone
        before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
        subprocess.run(tool, check=True, capture_output=True, timeout=60)
        after = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
        assert not before or before == after
    files = [secret["file"] for secret in compose["secrets"].values()]
    mounts = [v.split(":")[0] for v in compose["services"]["nats"]["volumes"]]

    for path in [*files, *(m for m in mounts if "secrets" in m)]:
        assert (tmp_path / path).exists(), path
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "nats-keys.conf":
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_longer_to_end_than_its_service_needs(
    compose: Mapping[str, Any], settings: Settings, name: str
) -> None:
    service = compose["services"][name]
    typed = parse_settings(settings[name], [], _environment(service))
    assert service["stop_grace_period"].endswith("s")
    assert float(service["stop_grace_period"][:-1]) >= typed.drain_seconds + ENDING_SECONDS


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_asked_where_it_is_answered(
    compose: Mapping[str, Any], settings: Settings, name: str
) -> None:
    service = compose["services"][name]
    typed = parse_settings(settings[name], [], _environment(service))
    assert service["healthcheck"]["test"][-3:] == ["-m", "svckit.probe", typed.health_listen]


def test_published_ports_are_those_listened_on(
    compose: Mapping[str, Any], settings: Settings
) -> None:
    for name in ("reconciler", "agentgw"):
        service = compose["services"][name]
        typed = parse_settings(settings[name], [], _environment(service))
        _, port = parse_listen(typed.listen)
        assert service["ports"] == [f"{port}:{port}"]
    agent_url = _environment(compose["services"]["reconciler"])["WARMPOOL_RECONCILER_AGENT_URL"]
    assert compose["services"]["agentgw"]["ports"] == [f"{agent_url.rpartition(':')[2]}:7443"]


def test_services_call_each_other_by_names_on_a_network_they_share(
    compose: Mapping[str, Any],
) -> None:
    services = compose["services"]
    for name in SERVICES:
        for key, value in _environment(services[name]).items():
            if not key.endswith(("RECONCILER_ADDRESS", "NATS_URL")):
                continue
            host = value.partition("://")[2].rpartition(":")[0]
            assert set(services[host]["networks"]) & set(services[name]["networks"]), (name, host)


def test_only_the_control_plane_reaches_the_database(compose: Mapping[str, Any]) -> None:
    beside = {
        name for name, service in compose["services"].items() if "database" in service["networks"]
    }
    assert beside == {"postgres", "migrate", "reconciler"}


@pytest.mark.parametrize("name", [*SERVICES, "migrate", "nats"])
def test_containers_are_restricted(compose: Mapping[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["user"] == "${WARMPOOL_UID:-1000}:${WARMPOOL_GID:-1000}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
