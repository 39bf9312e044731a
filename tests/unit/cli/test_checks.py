"""What doctor makes of what it sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.control.v1.system_pb2 import (
    Check,
    GetSystemResponse,
    Instance,
    ProvisionerWorker,
)
from warmpool_cli.checks.certificates import judge_expiry
from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.checks.machine import (
    judge_disk,
    judge_open_files,
    judge_python,
    judge_terraform_version,
)
from warmpool_cli.checks.remote import judge_system

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_stamp(at: datetime = NOW) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def a_system(**changes: object) -> GetSystemResponse:
    system = GetSystemResponse(
        version="1.0",
        now=a_stamp(),
        provisioners=[
            ProvisionerWorker(name="p", provisioner_types=["process"], last_seen_at=a_stamp())
        ],
    )
    for name, value in changes.items():
        if isinstance(value, list):
            system.ClearField(name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            getattr(system, name).extend(value)
        elif isinstance(value, Timestamp):
            getattr(system, name).CopyFrom(value)
        else:
            setattr(system, name, value)
    return system


def verdicts(system: GetSystemResponse) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in judge_system(system, NOW, "1.0")}


def test_a_system_that_is_well():
    assert verdicts(a_system(checks=[Check(name="postgres", ok=True)])) == {
        "postgres": Verdict.OK,
        "versions": Verdict.OK,
        "clock here": Verdict.OK,
        "provisioner p": Verdict.OK,
    }


def test_what_the_control_plane_says_is_not_well_is_a_failure():
    assert verdicts(a_system(checks=[Check(name="nats", ok=False)]))["nats"] is Verdict.FAIL


def test_what_the_control_plane_warns_of_is_a_warning_with_its_fix():
    warned = Check(name="connections", ok=True, warning=True, message="few", fix="raise them")

    (found, *_) = judge_system(a_system(checks=[warned]), NOW, "1.0")

    assert found == Finding(
        name="connections", verdict=Verdict.WARN, message="few", fix="raise them"
    )


def test_what_runs_is_listed_with_its_release():
    gateway = Instance(service="gateway", name="edge", version="1.1", last_seen_at=a_stamp())
    worker = Instance(id="7", service="provisioner", programs={"terraform": "1.14.0 (tofu)"})
    system = a_system(
        instances=[gateway, worker],
        provisioners=[
            ProvisionerWorker(
                id="7",
                name="p",
                version="1.1",
                provisioner_types=["terraform", "process"],
                last_seen_at=a_stamp(),
            )
        ],
    )

    found = {each.name: each.message for each in judge_system(system, NOW, "1.0")}

    assert found["gateway edge"] == "1.1; seen 0s ago"
    assert found["provisioner p"] == "1.1; terraform 1.14.0 (tofu), process; seen 0s ago"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [("1.0.3", Verdict.OK), ("1.1", Verdict.OK), ("1.2", Verdict.WARN), ("2.0", Verdict.WARN)],
)
def test_neighbouring_releases_work_together(version: str, verdict: Verdict):
    assert verdicts(a_system(version=version))["versions"] is verdict


@pytest.mark.parametrize(
    ("days", "verdict"), [(15, Verdict.OK), (13, Verdict.WARN), (0, Verdict.FAIL)]
)
def test_a_certificate_is_renewed_in_time(days: int, verdict: Verdict):
    ends = [NOW + timedelta(days=400), NOW + timedelta(days=days)]

    found = judge_expiry("certificate", "ca.crt", ends, NOW)

    assert (found.verdict, bool(found.fix)) == (verdict, verdict is not Verdict.OK)


def test_nobody_to_build_is_a_failure():
    assert verdicts(a_system(provisioners=[]))["provisioners"] is Verdict.FAIL


def test_clocks_apart_and_other_releases_are_warnings():
    found = verdicts(a_system(version="0.9", now=a_stamp(NOW + timedelta(seconds=6))))

    assert (found["clock here"], found["versions"]) == (Verdict.WARN, Verdict.WARN)


def test_a_provisioner_that_fell_silent_is_a_warning():
    silent = ProvisionerWorker(name="p", last_seen_at=a_stamp(NOW - timedelta(minutes=2)))

    assert verdicts(a_system(provisioners=[silent]))["provisioner p"] is Verdict.WARN


def test_every_finding_that_is_not_well_comes_with_a_fix():
    here = Path("here")
    findings = [
        judge_python((3, 10, 2)),
        judge_disk(here, 100 * 1024**2),
        judge_disk(here, 1024**3),
        judge_open_files(256),
        judge_terraform_version(here, "1.3.9"),
        judge_terraform_version(here, ""),
        *judge_system(
            a_system(version="0.9", provisioners=[], checks=[Check(name="nats")]), NOW, "1.0"
        ),
    ]

    assert [f.verdict for f in findings[:6]] == [
        Verdict.FAIL,
        Verdict.FAIL,
        Verdict.WARN,
        Verdict.WARN,
        Verdict.WARN,
        Verdict.WARN,
    ]
    assert [f.name for f in findings if bool(f.fix) == (f.verdict is Verdict.OK)] == []


def test_what_is_enough_is_well():
    assert {
        judge_python((3, 13, 0)).verdict,
        judge_disk(Path("here"), 5 * 1024**3).verdict,
        judge_open_files(-1).verdict,
        judge_terraform_version(Path("tofu"), "1.10.0-beta1").verdict,
    } == {Verdict.OK}
