"""schedule explain."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.pools_pb2 import ExplainScheduleRequest
from warmpool.control.v1.templates_pb2 import Schedule
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.schedule import windows_table

__all__ = ["read_schedule", "register"]

EXPLAIN_HELP = 'Cron windows as "CRON=N", first match wins, for example "* 8-18 * * 1-5=5".'

_Schedules = Annotated[list[str], typer.Argument(metavar="CRON=N...", help=EXPLAIN_HELP)]
_Timezone = Annotated[
    str, typer.Option("--timezone", "--tz", help="IANA time zone, for example Europe/Berlin.")
]
INSTANCES_MAX = 1_000_000
"""Far above what a pool may have; the server judges closer."""
_Instances = Annotated[
    int, typer.Option("--instances", min=0, max=INSTANCES_MAX, help="Size when none matches.")
]
_Windows = Annotated[int, typer.Option("--windows", min=1, max=50, help="How many to list.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Look at pool schedules before pushing them.", no_args_is_help=True)
    add_command(group, "explain")(explain)
    app.add_typer(group, name="schedule")


async def explain(
    call: Invocation,
    schedules: _Schedules,
    timezone: _Timezone = "UTC",
    instances: _Instances = 0,
    windows: _Windows = 5,
) -> None:
    """Say which windows a set of schedules opens next, or what is wrong with it."""
    request = ExplainScheduleRequest(
        schedules=[read_schedule(text) for text in schedules],
        timezone=timezone,
        instances=instances,
        windows=windows,
    )
    async with call.client() as client:
        answer = await client.pools.ExplainSchedule(request, timeout=CALL_TIMEOUT_SECONDS)
    call.output.document(as_json(answer))
    call.output.say(f"desired now: {answer.desired_now}")
    call.output.draw(windows_table(answer.windows, timezone))


def read_schedule(text: str) -> Schedule:
    """`CRON=N` as a schedule; raises UsageInvalid. The server judges the expression itself."""
    cron, equals, count = text.rpartition("=")
    if not (equals and cron.strip() and count.strip().isdigit()):
        raise UsageInvalid(
            f"the schedule {text!r} is not CRON=N",
            'give a cron expression and a count, for example "* 8-18 * * 1-5=5"',
        )
    if len(count.strip()) > len(str(INSTANCES_MAX)) or int(count) > INSTANCES_MAX:
        raise UsageInvalid(
            f"the schedule {text!r} asks for more than {INSTANCES_MAX:,}", "give a smaller count"
        )
    return Schedule(cron=cron.strip(), instances=int(count))
