"""Lists of messages as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from warmpool.control.v1.pools_pb2 import Pool, PoolHealth
from warmpool.control.v1.templates_pb2 import Preset, Template, TemplateVersion
from warmpool.control.v1.workspaces_pb2 import Workspace
from warmpool_cli.output import printable
from warmpool_cli.render.words import agent_word, health_word, job_word, since, transition_word

__all__ = [
    "facts_table",
    "plain_table",
    "pool_state",
    "pools_table",
    "presets_table",
    "templates_table",
    "unready",
    "versions_table",
    "workspaces_table",
]

_GOOD = frozenset({"running", "ready", "yes", "healthy", "succeeded", "active"})
_BAD = frozenset({"failed", "hard-limited", "validation-failed", "start-error", "start-timeout"})


def plain_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts; words that everybody reads as good or bad are coloured so."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header.isupper() else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and values, without a header."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    return table


def templates_table(templates: Iterable[Template], now: datetime) -> Table:
    """One line a template."""
    return plain_table(
        ("name", "provisioner", "active version", "created"),
        (
            (t.name, t.provisioner_type, t.active_version_name or "-", since(t.created_at, now))
            for t in templates
        ),
    )


def versions_table(versions: Iterable[TemplateVersion], now: datetime) -> Table:
    """One line a version."""
    return plain_table(
        ("version", "active", "import", "created", "message"),
        (
            (
                v.name,
                "yes" if v.active else "",
                job_word(v.import_status),
                since(v.created_at, now),
                v.import_error or v.message,
            )
            for v in versions
        ),
    )


def presets_table(presets: Iterable[Preset]) -> Table:
    """One line a preset, with the pool that is kept of it."""
    return plain_table(
        ("preset", "default", "prebuilds", "schedules", "parameters"),
        (
            (
                p.name,
                "yes" if p.is_default else "",
                str(p.instances),
                str(len(p.schedules)) if p.schedules else "-",
                ", ".join(f"{v.name}={v.value}" for v in p.parameters) or "-",
            )
            for p in presets
        ),
    )


def pool_state(pool: Pool) -> str:
    """One word for how a pool fares."""
    if pool.health != PoolHealth.POOL_HEALTH_HEALTHY:
        return health_word(pool.health)
    if pool.paused:
        return "paused"
    if pool.HasField("backoff_until"):
        return "backing-off"
    return "ready" if pool.eligible >= pool.desired else "filling"


def unready(pool: Pool) -> int:
    """How many members are built and cannot be claimed: an agent is not ready or not connected,
    or they are about to be replaced.
    """
    return max(pool.running - pool.eligible, 0)


def pools_table(pools: Iterable[Pool], now: datetime) -> Table:
    """One line a pool, with its counts; READY is of how many there should be. The columns of
    unready members, schedules and errors are there only if there is one: eighty columns must do.
    """
    rows = list(pools)
    headers = ["pool", "version", "READY", "STARTING", "DELETING", "FAILED", "CLAIMED", "health"]
    columns = [
        [f"{p.template_name}/{p.preset_name}" for p in rows],
        [p.version_name + ("" if p.active else " (inactive)") for p in rows],
        [f"{p.eligible}/{p.desired}" for p in rows],
        [str(p.starting) for p in rows],
        [str(p.deleting) for p in rows],
        [str(p.failed) for p in rows],
        [str(p.claimed_total) for p in rows],
        [pool_state(p) for p in rows],
    ]
    if any(unready(p) for p in rows):
        headers.insert(3, "UNREADY")
        columns.insert(3, [str(unready(p)) for p in rows])
    if any(p.HasField("next_change_at") for p in rows):
        headers.append("next change")
        columns.append(
            [since(p.next_change_at, now) if p.HasField("next_change_at") else "-" for p in rows]
        )
    if any(p.last_error for p in rows):
        headers.append("last error")
        columns.append([p.last_error for p in rows])
    return plain_table(headers, zip(*columns, strict=True))


def workspaces_table(workspaces: Iterable[Workspace], now: datetime) -> Table:
    """One line a workspace."""
    return plain_table(
        ("name", "owner", "template", "preset", "last build", "agents", "from pool", "created"),
        (
            (
                w.name,
                w.owner_name,
                w.template_name,
                w.preset_name or "-",
                build_words(w),
                ", ".join(agent_words(w)) or "-",
                "prebuild" if w.is_prebuild else "yes" if w.HasField("claim") else "",
                since(w.created_at, now),
            )
            for w in workspaces
        ),
    )


def build_words(workspace: Workspace) -> str:
    """The latest build in two words, for example "start succeeded"."""
    if not workspace.HasField("latest_build"):
        return "-"
    build = workspace.latest_build
    return f"{transition_word(build.transition)} {job_word(build.job_status)}"


def agent_words(workspace: Workspace) -> list[str]:
    """Each agent with its lifecycle, and whether it is gone from the gateway."""
    return [
        f"{a.name} {agent_word(a.lifecycle)}" + ("" if a.connected else " (disconnected)")
        for a in workspace.agents
    ]


def _cell(value: str) -> Text:
    last = value.rsplit(" ", 1)[-1]
    style = "green" if last in _GOOD else "red" if last in _BAD else ""
    return Text(printable(value), style=style)
