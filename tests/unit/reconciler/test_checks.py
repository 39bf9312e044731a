"""Whether an installation is well, why that matters, and what to do if not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from reconciler.core.checks import (
    Check,
    InstanceView,
    ManifestsView,
    WorkerView,
    check_certificates,
    check_instances,
    check_manifests,
    check_provisioners,
    check_versions,
)
from reconciler.core.postgres_checks import (
    PostgresView,
    check_clock,
    check_connections,
    check_postgres,
    check_schema,
)
from svckit.certificates import Certificate

NOW = datetime(2027, 3, 1, tzinfo=UTC)
SOUND = PostgresView(
    version="18.4",
    version_number=180004,
    schema_version="0001_pre_a",
    now=NOW,
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    connections_max=97,
    statement_seconds=0.0,
    idle_seconds=0.0,
    is_standby=False,
    is_local=True,
    is_encrypted=False,
)


def an_instance(
    service: str = "gateway", version: str = "1.4.2", **changes: object
) -> InstanceView:
    made = InstanceView(
        id=UUID(int=1), service=service, name="edge", version=version, programs={}, last_seen_at=NOW
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType] -- named by tests


@pytest.mark.parametrize(
    ("found", "is_ok", "message"),
    [
        ("0002_pre_b", True, "0002_pre_b"),
        ("0003_pre_c", True, "the database is at 0003_pre_c, this release at 0002_pre_b"),
        ("0001_pre_a", False, "the database is at 0001_pre_a, this release at 0002_pre_b"),
        ("", False, "the database is at nothing, this release at 0002_pre_b"),
    ],
)
def test_a_schema_may_be_newer_but_not_older(found: str, is_ok: bool, message: str) -> None:
    check = check_schema(found, "0002_pre_b")

    assert (check.is_ok, check.message) == (is_ok, message)
    assert check.fix == ("" if is_ok else "start a reconciler with migrate=true")


@pytest.mark.parametrize("seconds", [-5, 0, 5])
def test_clocks_agree_within_five_seconds(seconds: float) -> None:
    assert check_clock(NOW, NOW + timedelta(seconds=seconds)).is_ok


@pytest.mark.parametrize("seconds", [-6, 6])
def test_clocks_that_differ_by_more_are_to_be_set(seconds: float) -> None:
    assert check_clock(NOW, NOW + timedelta(seconds=seconds)) == Check(
        name="clock",
        is_ok=False,
        message="6.0 s from Postgres'; at most 5 s are allowed, or jobs of living workers count as"
        " dead",
        fix="set the time of both machines by NTP",
    )


def test_a_sound_postgres_is_one_line() -> None:
    assert check_postgres(SOUND) == (Check(name="postgres", is_ok=True, message="version 18.4"),)


@pytest.mark.parametrize(
    ("changes", "is_ok", "said"),
    [
        ({"version": "14.9", "version_number": 140009}, False, "older than what we support"),
        ({"fsync": False}, False, "fsync is off: a crash"),
        ({"full_page_writes": False}, False, "full_page_writes is off: a crash"),
        ({"synchronous_commit": "off"}, False, "a claim that was answered can be forgotten"),
        ({"is_standby": True}, False, "nothing can be written"),
        ({"statement_seconds": 5.0}, True, "statement_timeout is 5 s"),
        ({"idle_seconds": 60.0}, True, "the lock of whoever keeps the pools"),
        ({"is_local": False}, True, "not encrypted"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_told_with_why_and_what_to_do(
    changes: dict[str, object], is_ok: bool, said: str
) -> None:
    checks = check_postgres(replace(SOUND, **changes))  # pyright: ignore[reportArgumentType] -- above

    assert [check.is_ok for check in checks] == [True, True] if is_ok else [False]
    assert said in checks[-1].message
    assert checks[-1].fix
    assert checks[-1].is_warning == is_ok


def test_an_encrypted_connection_may_leave_the_machine() -> None:
    far = replace(SOUND, is_local=False, is_encrypted=True, synchronous_commit="remote_apply")

    assert len(check_postgres(far)) == 1


@pytest.mark.parametrize(
    ("replicas", "is_ok", "is_warning"), [(0, True, False), (2, True, False), (3, True, True)]
)
def test_there_are_connections_for_every_replica_and_for_its_successor(
    replicas: int, is_ok: bool, is_warning: bool
) -> None:
    check = check_connections(97, 17, replicas)

    assert (check.is_ok, check.is_warning, bool(check.fix)) == (is_ok, is_warning, is_warning)


def test_too_few_connections_are_a_failure() -> None:
    check = check_connections(97, 17, 6)

    assert (check.is_ok, check.fix) == (
        False,
        "raise max_connections, or lower database_pool_max",
    )


@pytest.mark.parametrize(
    ("versions", "is_ok"),
    [
        (("1.4.2", "1.5.0", "1.3.9"), True),
        (("1.6.0",), False),
        (("2.4.2",), False),
        (("unknown",), False),
    ],
)
def test_what_runs_is_within_one_release(versions: tuple[str, ...], is_ok: bool) -> None:
    assert check_versions("1.4.2", [an_instance(version=v) for v in versions]).is_ok == is_ok


@pytest.mark.parametrize(("own", "other"), [("0.2.0", "0.1.0"), ("0.1.0", "0.2.0")])
def test_this_release_and_the_one_before_run_together(own: str, other: str) -> None:
    instances = [an_instance(version=version) for version in (own, other, f"{other}+previous")]
    assert check_versions(own, instances).is_ok


def test_a_stranger_is_named() -> None:
    check = check_versions("1.4.2", [an_instance(version="1.6.0"), an_instance()])

    assert check.message.endswith("and may not work: gateway edge (1.6.0)")
    assert check_versions("1.4.2", [an_instance()]).message == "1 × gateway 1.4.2"


def test_what_processes_say_of_themselves_is_passed_on() -> None:
    said = check_instances(
        [
            an_instance(clock_skew_seconds=-7.0),
            an_instance("provisioner", programs={"terraform": "", "tofu": "1.10"}),
            an_instance(problems=("nats: not connected",)),
            an_instance(clock_skew_seconds=1.0),
        ]
    )

    assert [(c.name, c.is_ok, c.is_warning, c.message[:30]) for c in said] == [
        ("gateway edge", False, False, "its clock is -7.0 s from ours,"),
        ("provisioner edge", True, True, "terraform is not there, so it "),
        ("gateway edge", True, True, "nats: not connected"),
    ]
    assert all(check.fix for check in said)


def test_each_certificate_is_told_and_what_is_wrong_with_it() -> None:
    def given(setting: str, days: int, *names: str, problem: str = "") -> Certificate:
        end = NOW + timedelta(days=days)
        return Certificate(
            setting=setting, issuer="our root", names=names, ends_at=end, problem=problem
        )

    said = check_certificates(
        [
            an_instance(
                certificates=(
                    given("tls_cert_file", 90, "agents.example.com"),
                    given("nats_ca_file", 9),
                )
            ),
            an_instance(certificates=(given("tls_cert_file", 90, "gw-1"),)),
            an_instance("provisioner", certificates=(given("reconciler_cert_file", -1, "p"),)),
            an_instance("reconciler", certificates=(given("tls_cert_file", 9, problem="no"),)),
        ],
        NOW,
        "https://agents.example.com:7443",
    )

    assert [(c.name, c.is_ok, c.is_warning, c.message, bool(c.fix)) for c in said] == [
        (
            "gateway edge",
            True,
            False,
            "tls_cert_file: signed by our root for agents.example.com, until 2027-05-30",
            False,
        ),
        ("gateway edge", True, True, "nats_ca_file: ends on 2027-03-10, in 9 days", True),
        (
            "gateway edge",
            True,
            True,
            "tls_cert_file: is for gw-1, and agents call agents.example.com; they refuse it unless"
            " something before the gateways ends TLS",
            True,
        ),
        (
            "provisioner edge",
            False,
            True,
            "reconciler_cert_file: has expired on 2027-02-28; nobody trusts it any more",
            True,
        ),
        ("reconciler edge", True, True, "tls_cert_file: no", True),
    ]


def test_a_certificate_is_not_told_of_twice() -> None:
    problem = "certificates: tls_cert_file: ends on 2027-03-10, in 9 days"
    [older] = check_instances([an_instance(problems=(problem,))])
    known = Certificate(setting="tls_cert_file")

    assert older.message == problem
    assert check_instances([an_instance(problems=(problem,), certificates=(known,))]) == ()


def test_somebody_must_take_jobs() -> None:
    assert check_provisioners(()) == Check(
        name="provisioners",
        is_ok=False,
        message="none seen for 60 s; builds wait until a provisionerd connects",
        fix="start a provisionerd and look into its log",
    )


def test_provisioners_are_counted_by_type() -> None:
    workers = [
        WorkerView(
            id=UUID(int=number),
            name="w",
            version="1",
            provisioner_types=types,
            tags={},
            last_seen_at=NOW,
        )
        for number, types in enumerate((("terraform",), ("terraform", "process")))
    ]
    assert check_provisioners(workers) == Check(
        name="provisioners", is_ok=True, message="2 connected: 1 × process, 2 × terraform"
    )


@pytest.mark.parametrize(
    ("are_sealed", "plain", "others", "fix"),
    [
        (True, 0, [], None),
        (True, 0, ["1.3.0"], None),
        (True, 2, [], "set state_key_file"),
        (False, 0, ["1.4.0"], "`python -m reconciler migrate --post`"),
        (False, 2, [], "`python -m reconciler migrate --post`"),
        (False, 2, ["1.4.2", "1.3.9"], None),  # in the middle of an upgrade it is as it should be
    ],
)
def test_secrets_that_lie_in_clear_are_a_warning(
    are_sealed: bool, plain: int, others: list[str], fix: str | None
) -> None:
    view = ManifestsView(are_sealed=are_sealed, plain=plain)
    checks = check_manifests("1.4.2", view, [an_instance(version=each) for each in others])
    assert [(check.name, check.is_ok, check.is_warning) for check in checks] == (
        [] if fix is None else [("secrets", True, True)]
    )
    assert all(fix is not None and fix in check.fix for check in checks)
