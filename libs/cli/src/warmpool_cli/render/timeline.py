"""The steps of a claim, each with its distance from the request.

requested → claimed → built → delivered → applied. The first four are the control plane's doing; the
last is the agent saying that it runs under its new owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from warmpool.control.v1.workspaces_pb2 import Claim
from warmpool_cli.output import JsonValue
from warmpool_cli.render.words import moment

__all__ = ["TimelineStep", "build_timeline", "timeline_json", "timeline_table"]

_MEANING = {
    "requested": "the request arrived",
    "claimed": "the workspace changed hands",
    "built": "its claim build succeeded",
    "delivered": "every agent was sent the claim",
    "applied": "every agent runs under its new owner",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One step; both values are None while it has not happened."""

    name: str
    at: datetime | None
    milliseconds: float | None
    """Since the request."""


def build_timeline(claim: Claim) -> tuple[TimelineStep, ...]:
    """The five steps in order."""
    fields = {
        "requested": claim.requested_at if claim.HasField("requested_at") else None,
        "claimed": claim.claimed_at if claim.HasField("claimed_at") else None,
        "built": claim.built_at if claim.HasField("built_at") else None,
        "delivered": claim.delivered_at if claim.HasField("delivered_at") else None,
        "applied": claim.applied_at if claim.HasField("applied_at") else None,
    }
    times = {name: moment(stamp) if stamp else None for name, stamp in fields.items()}
    origin = times["requested"]
    return tuple(
        TimelineStep(
            name=name,
            at=at,
            milliseconds=round((at - origin).total_seconds() * 1000, 3) if at and origin else None,
        )
        for name, at in times.items()
    )


def timeline_json(steps: Sequence[TimelineStep]) -> list[JsonValue]:
    """The steps as JSON; a step that has not happened has nulls."""
    return [
        {
            "step": step.name,
            "at": step.at.isoformat() if step.at else None,
            "milliseconds": step.milliseconds,
        }
        for step in steps
    ]


def timeline_table(steps: Sequence[TimelineStep]) -> Table:
    """The steps as a table: since the request, and since the step before."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("step")
    table.add_column("ms since requested", justify="right")
    table.add_column("ms since last", justify="right")
    table.add_column("meaning", style="dim")
    last: float | None = None
    for step in steps:
        now = step.milliseconds
        table.add_row(
            step.name,
            "-" if now is None else f"{now:,.1f}",
            "-" if now is None or last is None else f"{now - last:+,.1f}",
            _MEANING[step.name],
        )
        last = last if now is None else now
    return table
