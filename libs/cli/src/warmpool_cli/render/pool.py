"""One pool in full, and why it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich.table import Table

from warmpool.control.v1.pools_pb2 import Pool, PoolHealth
from warmpool.control.v1.workspaces_pb2 import Workspace
from warmpool_cli.render.tables import agent_words, build_words, plain_table, pool_state, unready
from warmpool_cli.render.words import counted, local_time, since

__all__ = ["members_table", "pool_facts", "stopped_pools"]


def pool_facts(pool: Pool, now: datetime, *, is_all_paused: bool) -> list[tuple[str, str]]:
    """Names and values, in reading order; last, what keeps the pool from being full."""
    facts = [
        ("pool", f"{pool.template_name}/{pool.preset_name}"),
        ("organization", pool.organization_name),
        ("version", pool.version_name + ("" if pool.active else " (inactive)")),
        ("health", pool_state(pool)),
        ("ready", f"{pool.eligible} of {pool.desired}"),
    ]
    counts = (
        ("unready", max(unready(pool) - pool.expired, 0)),
        ("expired", pool.expired),
        ("starting", pool.starting),
        ("deleting", pool.deleting),
        ("of these stuck", pool.delete_failed),
        ("failed", pool.failed),
    )
    facts.extend((name, str(count)) for name, count in counts if count)
    facts.append(("claimed so far", str(pool.claimed_total)))
    if pool.HasField("next_change_at"):
        facts.append(("next schedule change", _when(pool, "next_change_at", now)))
    facts.extend(("why", reason) for reason in _reasons(pool, now, is_all_paused))
    if pool.last_error:
        facts.append(("last error", pool.last_error))
    return facts


def stopped_pools(pools: Iterable[Pool], now: datetime) -> Iterator[str]:
    """One line for each pool that makes nothing until somebody acts, with the cause."""
    for pool in pools:
        if pool.health != PoolHealth.POOL_HEALTH_HEALTHY or pool.paused_by:
            reason = next(_reasons(pool, now, is_all_paused=False))
            yield f"{pool.template_name}/{pool.preset_name}: {reason}"


def members_table(members: Iterable[Workspace], now: datetime) -> Table:
    """One line a member, failed ones with what their build said."""
    rows = list(members)
    headers = ["name", "version", "last build", "agents", "created"]
    columns = [
        [w.name for w in rows],
        [w.latest_build.template_version_name for w in rows],
        [build_words(w) for w in rows],
        [", ".join(agent_words(w)) or "-" for w in rows],
        [since(w.created_at, now) for w in rows],
    ]
    if any(w.latest_build.job_error for w in rows):
        headers.append("error")
        columns.append([w.latest_build.job_error or "-" for w in rows])
    return plain_table(headers, zip(*columns, strict=True))


def _reasons(pool: Pool, now: datetime, is_all_paused: bool) -> Iterator[str]:
    """Why nothing is made, most final first; then what is on its way by itself."""
    if not pool.active:
        yield "its version is not active: what is left goes away"
    if pool.health == PoolHealth.POOL_HEALTH_VALIDATION_FAILED:
        yield f"{pool.stop_reason or 'validation refused a prebuild'}; push a version that mends it"
    if pool.health == PoolHealth.POOL_HEALTH_HARD_LIMITED:
        yield pool.stop_reason or "too many failures in a row; the pool stopped until it is resumed"
        if pool.HasField("resumed_at"):
            yield f"resumed {_ago(pool, 'resumed_at', now)}: one probe build decides"
        else:
            yield f"go on: warmpool pool resume {pool.template_name} {pool.preset_name}"
    if is_all_paused:
        yield "everything is paused; go on: warmpool pool resume"
    if pool.paused_by:
        yield (
            f"paused by {pool.paused_by} {_ago(pool, 'paused_at', now)}; go on:"
            f" warmpool pool resume {pool.template_name} {pool.preset_name}"
        )
    if pool.HasField("backoff_until"):
        yield f"waits after failures until {_when(pool, 'backoff_until', now)}"
    if pool.schedule_error:
        yield f"its schedules are not used: {pool.schedule_error}"
    if pool.delete_failed:
        yield f"{counted(pool.delete_failed, 'deletion')} failed and will be tried again"


def _ago(pool: Pool, name: str, now: datetime) -> str:
    return f"{since(getattr(pool, name), now)} ago"


def _when(pool: Pool, name: str, now: datetime) -> str:
    return f"{local_time(getattr(pool, name))} ({since(getattr(pool, name), now)})"
