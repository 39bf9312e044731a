"""The policy of the pool, as numbers an operator may change."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolSettings", "concurrency_limit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How patient the pool is. Seconds, unless a name says otherwise.

    `failure_lookback_seconds` is how long a failure counts, and how long a member must be ready
    until its loss is none. `failure_hard_limit` is how many creations in a row may fail, or how
    often in a row what replaced lost members may be lost, before a pool stops; 0 means no limit.
    `jobs_in_flight_max` bounds the prebuild jobs that exist and have not ended, over all presets.
    """

    backoff_interval_seconds: float = 60
    failure_lookback_seconds: float = 3600
    failure_hard_limit: int = 3
    never_ready_timeout_seconds: float = 1800
    lost_timeout_seconds: float = 600
    delete_retry_interval_seconds: float = 60
    delete_retry_max_seconds: float = 3600
    jobs_in_flight_max: int = 50


def concurrency_limit(database_pool_max: int) -> int:
    """How many connections a pass may use at once: half of the database pool, at least one.

    The other half stays with people's requests, so the pool can never starve them.
    """
    return max(1, database_pool_max // 2)
