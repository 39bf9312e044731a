"""Whether an installation is well, and what to do if not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from reconciler.core.checks import (
    Check,
    WorkerView,
    check_clock,
    check_provisioners,
    check_schema,
)

NOW = datetime(2027, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("found", "is_ok", "message"),
    [
        ("0002_pre_b", True, "0002_pre_b"),
        ("0003_pre_c", True, "the database is at 0003_pre_c, this release at 0002_pre_b"),
        (
            "0001_pre_a",
            False,
            "the database is at 0001_pre_a, this release at 0002_pre_b;"
            " start a reconciler with migrate=true",
        ),
        (
            "",
            False,
            "the database is at nothing, this release at 0002_pre_b;"
            " start a reconciler with migrate=true",
        ),
    ],
)
def test_a_schema_may_be_newer_but_not_older(found: str, is_ok: bool, message: str) -> None:
    assert check_schema(found, "0002_pre_b") == Check(name="schema", is_ok=is_ok, message=message)


@pytest.mark.parametrize("seconds", [-5, 0, 5])
def test_clocks_agree_within_five_seconds(seconds: float) -> None:
    assert check_clock(NOW, NOW + timedelta(seconds=seconds)).is_ok


@pytest.mark.parametrize("seconds", [-6, 6])
def test_clocks_that_differ_by_more_are_to_be_set(seconds: float) -> None:
    assert check_clock(NOW, NOW + timedelta(seconds=seconds)) == Check(
        name="clock",
        is_ok=False,
        message="6.0 s from Postgres'; at most 5 s are allowed:"
        " set the time of both machines by NTP",
    )


def test_somebody_must_take_jobs() -> None:
    assert check_provisioners(()) == Check(
        name="provisioners",
        is_ok=False,
        message="none seen for 60 s; builds wait until a provisionerd connects",
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
