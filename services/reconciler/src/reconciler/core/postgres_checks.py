"""Whether Postgres is set up so that it keeps what it was told, and has room for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.core.checks import SKEW_MAX, Check

__all__ = ["PostgresView", "check_clock", "check_connections", "check_postgres", "check_schema"]

VERSION_MIN: Final = 15
STATEMENT_SECONDS_MIN: Final = 30.0
"""What a statement of ours may take before we give it up ourselves."""
IDLE_SECONDS_MIN: Final = 300.0
"""The leader's lock lives in a transaction that is idle during a pass."""
SPARE_CONNECTIONS: Final = 5  # for backups, and for people who look


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresView:
    """The database as it describes itself. `schema_version` is empty if nothing was migrated;
    `connections_max` are those that are not reserved; seconds of 0 are no limit.
    """

    version: str
    version_number: int
    schema_version: str
    now: datetime
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    connections_max: int
    statement_seconds: float
    idle_seconds: float
    is_standby: bool
    is_local: bool
    is_encrypted: bool


def check_postgres(view: PostgresView) -> tuple[Check, ...]:
    """The version and the settings; one check that is well if nothing is to be said."""
    found = tuple(_find_faults(view))
    if any(not check.is_ok for check in found):
        return found
    return (Check(name="postgres", is_ok=True, message=f"version {view.version}"), *found)


def _find_faults(view: PostgresView) -> Iterator[Check]:
    if view.version_number // 10_000 < VERSION_MIN:
        yield _fault(
            f"version {view.version} is older than what we support",
            f"upgrade Postgres to {VERSION_MIN} or newer",
        )
    if view.is_standby:
        yield _fault(
            "this server is a standby: nothing can be written",
            "point database_url at the primary",
        )
    for setting, is_on in (("fsync", view.fsync), ("full_page_writes", view.full_page_writes)):
        if not is_on:
            yield _fault(
                f"{setting} is off: a crash of its machine can destroy the database",
                f"set {setting} = on",
            )
    if view.synchronous_commit == "off":
        yield _fault(
            "synchronous_commit is off: a claim that was answered can be forgotten in a crash,"
            " and its prebuild given to somebody else",
            "set synchronous_commit = on, for the role or in postgresql.conf",
        )
    if 0 < view.statement_seconds < STATEMENT_SECONDS_MIN:
        yield _warning(
            f"statement_timeout is {view.statement_seconds:g} s: large reads are cut off before"
            " their own limit",
            f"set it to 0 or to at least {STATEMENT_SECONDS_MIN:g} s for our role",
        )
    if 0 < view.idle_seconds < IDLE_SECONDS_MIN:
        yield _warning(
            f"idle_in_transaction_session_timeout is {view.idle_seconds:g} s: the lock of whoever"
            " keeps the pools lives in an idle transaction, and is lost in a long pass",
            f"set it to 0 or to at least {IDLE_SECONDS_MIN:g} s for our role",
        )
    if not (view.is_local or view.is_encrypted):
        yield _warning(
            "the connection is not encrypted, and leaves this machine",
            "add ?sslmode=verify-full&sslrootcert=FILE to database_url",
        )


def check_connections(connections_max: int, per_replica: int, replicas: int) -> Check:
    """Whether all replicas find room, also while each is replaced by another."""
    wanted = per_replica * max(replicas, 1)
    message = f"{wanted} of {connections_max} for {max(replicas, 1)} × reconciler"
    if wanted + SPARE_CONNECTIONS > connections_max:
        return Check(
            name="connections",
            is_ok=False,
            message=f"{message}: calls will fail when all are in use",
            fix="raise max_connections, or lower database_pool_max",
        )
    if 2 * wanted + SPARE_CONNECTIONS > connections_max:
        return Check(
            name="connections",
            is_ok=True,
            is_warning=True,
            message=f"{message}: not enough for twice as many, as in an upgrade side by side",
            fix="raise max_connections, or lower database_pool_max",
        )
    return Check(name="connections", is_ok=True, message=message)


def check_schema(found: str, newest: str) -> Check:
    """Whether the database has this release's schema."""
    if found == newest:
        return Check(name="schema", is_ok=True, message=found)
    is_newer = found > newest  # a newer release has migrated it; ours still runs on it
    return Check(
        name="schema",
        is_ok=is_newer,
        message=f"the database is at {found or 'nothing'}, this release at {newest}",
        fix="" if is_newer else "start a reconciler with migrate=true",
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
        " allowed, or jobs of living workers count as dead",
        fix="set the time of both machines by NTP",
    )


def _fault(message: str, fix: str) -> Check:
    return Check(name="postgres", is_ok=False, message=message, fix=fix)


def _warning(message: str, fix: str) -> Check:
    return Check(name="postgres", is_ok=True, is_warning=True, message=message, fix=fix)
