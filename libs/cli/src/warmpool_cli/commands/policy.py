"""template policy."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.templates_pb2 import GetTemplateRequest, SetTemplatePolicyRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.commands.options import Organization, read_limit
from warmpool_cli.invocation import Invocation
from warmpool_cli.output import as_json
from warmpool_cli.render.lifecycle import policy_facts
from warmpool_cli.render.tables import facts_table

__all__ = ["policy"]

_Template = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Template name.")]
_Default = Annotated[
    str | None,
    typer.Option("--default-ttl", metavar="SPAN", help="New ones stop so long after a start."),
]
_Bump = Annotated[
    str | None,
    typer.Option("--activity-bump", metavar="SPAN", help="Use moves the stop so long from then."),
]
_Max = Annotated[
    str | None,
    typer.Option("--max-ttl", metavar="SPAN", help="Nothing runs longer without a stop."),
]
_Dormant = Annotated[
    str | None,
    typer.Option("--dormant-after", metavar="SPAN", help="Unused for so long, they are dormant."),
]
_Delete = Annotated[
    str | None,
    typer.Option("--delete-after", metavar="SPAN", help="Dormant for so long, they are deleted."),
]
_Failure = Annotated[
    str | None,
    typer.Option("--failure-ttl", metavar="SPAN", help="A failed start is stopped after so long."),
]
_Autostart = Annotated[
    bool | None,
    typer.Option("--allow-autostart/--no-autostart", help="May people set an autostart?"),
]


async def policy(
    call: Invocation,
    template: _Template,
    default_ttl: _Default = None,
    activity_bump: _Bump = None,
    max_ttl: _Max = None,
    dormant_after: _Dormant = None,
    delete_after: _Delete = None,
    failure_ttl: _Failure = None,
    allow_autostart: _Autostart = None,
    organization: Organization = "",
) -> None:
    """Show or set what a template's workspaces do by themselves. A SPAN is 90s, 15m, 12h, 7d or
    "never"; what is not given stays as it is.
    """
    spans = {
        "default_ttl_seconds": ("--default-ttl", default_ttl),
        "activity_bump_seconds": ("--activity-bump", activity_bump),
        "max_ttl_seconds": ("--max-ttl", max_ttl),
        "dormant_after_seconds": ("--dormant-after", dormant_after),
        "delete_dormant_after_seconds": ("--delete-after", delete_after),
        "failure_ttl_seconds": ("--failure-ttl", failure_ttl),
    }
    changes = {
        field: read_limit(flag, text) for field, (flag, text) in spans.items() if text is not None
    }
    async with call.client() as client:
        got = await client.templates.GetTemplate(
            GetTemplateRequest(organization=organization, template=template),
            timeout=CALL_TIMEOUT_SECONDS,
        )
        shown = got.template
        if changes or allow_autostart is not None:
            wanted = shown.policy
            for field, seconds in changes.items():
                setattr(wanted, field, seconds)
            if allow_autostart is not None:
                wanted.allow_autostart = allow_autostart
            answer = await client.templates.SetTemplatePolicy(
                SetTemplatePolicyRequest(
                    organization=organization, template=template, policy=wanted
                ),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            shown = answer.template
    call.output.document(as_json(shown))
    call.output.draw(facts_table([("template", shown.name), *policy_facts(shown.policy)]))
