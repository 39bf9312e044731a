"""Enums, spans and states as words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from warmpool.common.v1.types_pb2 import JobStatus
from warmpool.control.v1.pools_pb2 import Pool, PoolHealth
from warmpool.control.v1.workspaces_pb2 import PoolMiss
from warmpool_cli.render.tables import pool_state
from warmpool_cli.render.words import job_word, miss_word, since, span

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=59.9), "59s"),
        (timedelta(minutes=60), "1h"),
        (timedelta(hours=47), "1d"),
        (timedelta(0), "0s"),
    ],
)
def test_a_span_is_its_largest_unit_rounded_down(length: timedelta, text: str):
    assert span(length) == text


def test_what_is_to_come_is_told_apart_from_what_was():
    stamp = Timestamp()
    stamp.FromDatetime(NOW + timedelta(minutes=5))

    assert since(stamp, NOW) == "in 5m"
    assert since(stamp, NOW + timedelta(minutes=10)) == "5m"


def test_enums_lose_their_prefix():
    assert job_word(JobStatus.JOB_STATUS_SUCCEEDED) == "succeeded"
    assert miss_word(PoolMiss.POOL_MISS_HARD_LIMITED) == "hard-limited"


def test_a_newer_servers_enum_value_does_not_break_the_listing():
    assert job_word(cast("JobStatus.ValueType", 99)) == "unknown"


@pytest.mark.parametrize(
    ("pool", "state"),
    [
        (Pool(desired=2, eligible=2), "ready"),
        (Pool(desired=2, eligible=1), "filling"),
        (Pool(desired=2, eligible=2, paused=True), "paused"),
        (Pool(desired=2, paused=True, backoff_until=Timestamp(seconds=1)), "paused"),
        (Pool(desired=2, backoff_until=Timestamp(seconds=1)), "backing-off"),
    ],
)
def test_a_healthy_pool_is_in_one_of_four_states(pool: Pool, state: str):
    pool.health = PoolHealth.POOL_HEALTH_HEALTHY

    assert pool_state(pool) == state


def test_a_pool_that_may_not_create_says_so_before_all_else():
    pool = Pool(health=PoolHealth.POOL_HEALTH_HARD_LIMITED, desired=2, eligible=2, paused=True)

    assert pool_state(pool) == "hard-limited"
