"""The systemd units: hardened, and with the settings and the patience their services need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from agentgw.wiring.gateway import STOP_GRACE_SECONDS
from svckit.server import CLEANUP_SECONDS_MAX
from svckit.settings import ServiceSettings, parse_settings
from svckit.settings_sources import variable_name
from svckit.telemetry import CLOSE_SECONDS_MAX

ROOT = Path(__file__).resolve().parents[2]
UNIT_DIR = ROOT / "deploy" / "systemd"
UNITS = sorted(UNIT_DIR.glob("*.service"))
SERVICES = ("reconciler", "agentgw", "provisionerd")
ENDING_SECONDS = STOP_GRACE_SECONDS + CLEANUP_SECONDS_MAX + CLOSE_SECONDS_MAX + 5.0
HARDENED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
}
INSTALLATION = {  # what a machine's own environment file must say
    "reconciler": {},
    "agentgw": {},
    "provisionerd": {"WARMPOOL_PROVISIONERD_RECONCILER_ADDRESS": "https://localhost:7080"},
}
Settings = dict[str, type[ServiceSettings]]


def _read(unit: Path, wanted: str = "[Service]") -> dict[str, list[str]]:
    """One section; a key may occur many times."""
    section, found = "", defaultdict[str, list[str]](list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == wanted and line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, (unit.name, line)
            found[key].append(value)
    return found


def _unit(name: str) -> dict[str, list[str]]:
    return _read(UNIT_DIR / f"warmpool-{name}.service")


def _environment(name: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in _unit(name)["Environment"])
    return {key: value for key, _, value in pairs} | INSTALLATION.get(name, {})


def test_there_is_a_unit_for_each_service_and_for_the_migration() -> None:
    assert {unit.stem for unit in UNITS} == {f"warmpool-{name}" for name in (*SERVICES, "migrate")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardened(unit: Path) -> None:
    found = _read(unit)
    assert {key: found[key] for key in HARDENED} == {k: [v] for k, v in HARDENED.items()}
    assert "@system-service" in found["SystemCallFilter"]


@pytest.mark.parametrize("name", SERVICES)
def test_variables_are_settings_with_allowed_values(settings: Settings, name: str) -> None:
    environment = _environment(name)
    known = {variable_name(name, field) for field in settings[name].model_fields}

    assert set(environment) - known - {"HOME"} == set()
    parse_settings(settings[name], [], environment)


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_secrets_are_credentials(name: str) -> None:
    unit = _unit(name)
    given = {line.partition(":")[0] for line in unit["LoadCredential"]}
    named = {
        value.removeprefix("%d/") for key, value in _environment(name).items() if "_FILE" in key
    }
    assert named == given


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_has_patience_for_the_drain(settings: Settings, name: str) -> None:
    unit = _unit(name)
    typed = parse_settings(settings[name], [], _environment(name))
    [timeout] = unit["TimeoutStopSec"]

    assert float(timeout) >= typed.drain_seconds + ENDING_SECONDS
    assert unit["KillMode"] == ["mixed"], "children must not hear the signal"
    assert unit["Type"] == ["exec"], "the services do not notify"
    assert unit["ExecStart"] == [f"/opt/warmpool/bin/python -m {name}"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_tried_until_what_it_needs_is_there(name: str) -> None:
    """A reboot may bring Postgres up last: nothing may stand in the way of another try."""
    unit, service = _read(UNIT_DIR / f"warmpool-{name}.service", "[Unit]"), _unit(name)

    assert unit["StartLimitIntervalSec"] == ["0"]
    assert (service["Restart"], service["RestartSec"]) == (["always"], ["2"])
    needs = ("Requires", "Requisite", "BindsTo", "PartOf")
    assert {key: unit[key] for key in needs if unit[key]} == {}, "such a unit is tried once"


def test_the_control_plane_migrates_before_each_start_as_the_migration_alone_does() -> None:
    service, alone = _unit("reconciler"), _unit("migrate")

    assert service["ExecStartPre"] == alone["ExecStart"]
    assert service["TimeoutStartSec"] == alone["TimeoutStartSec"], "it may take as long"
    for key in ("LoadCredential", "Environment"):
        assert set(alone[key]) <= set(service[key])
    assert _environment("reconciler")["WARMPOOL_RECONCILER_MIGRATE"] == "false", "it has"


def test_ports_of_one_machine_do_not_collide_and_are_those_the_collector_scrapes() -> None:
    ports = [
        value
        for name in SERVICES
        for key, value in _environment(name).items()
        if key.endswith("_LISTEN")
    ]
    assert len(set(ports)) == len(ports) == 6
    collector = (ROOT / "deploy/observability/otel-collector.yaml").read_text(encoding="utf-8")
    scraped = set(re.findall(r"127\.0\.0\.1:909\d", collector))
    assert scraped == {port for port in ports if re.fullmatch(r"127\.0\.0\.1:909\d", port)}


def test_a_provisioner_keeps_its_jobs_in_its_state_directory() -> None:
    [directory] = _unit("provisionerd")["StateDirectory"]
    assert _environment("provisionerd")["WARMPOOL_PROVISIONERD_DATA_DIR"] == f"%S/{directory}"


def test_the_page_says_that_a_new_key_wants_a_restart() -> None:
    """LoadCredential copies at the start: the provisioner reads its key file again in vain."""
    assert _environment("provisionerd")["WARMPOOL_PROVISIONERD_KEY_FILE"].startswith("%d/")
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert "systemctl restart warmpool-provisionerd" in page


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Where systemd is; elsewhere what was compared above must do."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return
    for unit in UNITS:  # it wants the program to exist
        text = unit.read_text(encoding="utf-8")
        (tmp_path / unit.name).write_text(text.replace("/opt/warmpool/bin/python", sys.executable))
    run = subprocess.run(
        [program, "verify", "--man=no", *sorted(tmp_path.glob("*.service"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stderr.replace(str(tmp_path), "")) == (0, "")
