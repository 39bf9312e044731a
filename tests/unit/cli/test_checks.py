"""What doctor makes of what it sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.control.v1.system_pb2 import Check, GetSystemResponse, ProvisionerWorker
from warmpool_cli.checks.finding import Verdict
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
        "clock": Verdict.OK,
        "provisioner p": Verdict.OK,
    }


def test_what_the_control_plane_says_is_not_well_is_a_failure():
    assert verdicts(a_system(checks=[Check(name="nats", ok=False)]))["nats"] is Verdict.FAIL


def test_nobody_to_build_is_a_failure():
    assert verdicts(a_system(provisioners=[]))["provisioners"] is Verdict.FAIL


def test_clocks_apart_and_other_releases_are_warnings():
    found = verdicts(a_system(version="0.9", now=a_stamp(NOW + timedelta(seconds=6))))

    assert (found["clock"], found["versions"]) == (Verdict.WARN, Verdict.WARN)


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
