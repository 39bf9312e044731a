"""Whether the installation is well, from what was seen of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

__all__ = [
    "WORKER_SEEN",
    "Check",
    "PostgresView",
    "WorkerView",
    "check_clock",
    "check_provisioners",
    "check_schema",
]

WORKER_SEEN: Final = timedelta(seconds=60)
"""A provisioner not heard of for so long is gone; its stream tells every few seconds."""

SKEW_MAX: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, and what to do if it is not well."""

    name: str
    is_ok: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresView:
    """The database as it describes itself. `schema_version` is empty if nothing was migrated."""

    version: str
    schema_version: str
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A provisioner."""

    id: UUID
    name: str
    version: str
    provisioner_types: tuple[str, ...]
    tags: dict[str, str]
    last_seen_at: datetime


def check_schema(found: str, newest: str) -> Check:
    """Whether the database has this release's schema."""
    if found == newest:
        return Check(name="schema", is_ok=True, message=found)
    return Check(
        name="schema",
        is_ok=found > newest,  # a newer release has migrated it; ours still runs on it
        message=f"the database is at {found or 'nothing'}, this release at {newest}"
        + ("" if found > newest else "; start a reconciler with migrate=true"),
    )


def check_clock(here: datetime, there: datetime) -> Check:
    """Whether this replica and Postgres agree on the time."""
    skew = abs(here - there)
    seconds = skew.total_seconds()
    if skew <= SKEW_MAX:
        return Check(name="clock", is_ok=True, message=f"{seconds:.1f} s from Postgres'")
    return Check(
        name="clock",
        is_ok=False,
        message=f"{seconds:.1f} s from Postgres'; at most {SKEW_MAX.total_seconds():.0f} s are"
        " allowed: set the time of both machines by NTP",
    )


def check_provisioners(workers: Sequence[WorkerView]) -> Check:
    """Whether anybody takes jobs."""
    if not workers:
        return Check(
            name="provisioners",
            is_ok=False,
            message=f"none seen for {WORKER_SEEN.total_seconds():.0f} s; builds wait until a"
            " provisionerd connects",
        )
    types = Counter(each for worker in workers for each in worker.provisioner_types)
    kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(types.items()))
    return Check(name="provisioners", is_ok=True, message=f"{len(workers)} connected: {kinds}")
