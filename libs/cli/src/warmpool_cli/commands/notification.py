"""notification preferences, set, address, list, dead, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1 import notifications_pb2 as pb
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.notifications import deliveries_table, preferences_table

__all__ = ["register"]

PAGE_SIZE = 200
_STATUSES = {
    "": pb.DELIVERY_STATUS_UNSPECIFIED,
    "pending": pb.DELIVERY_STATUS_PENDING,
    "sent": pb.DELIVERY_STATUS_SENT,
    "dead": pb.DELIVERY_STATUS_DEAD,
}
_SWITCH = {"on": True, "off": False}
_User = Annotated[str, typer.Option("--user", metavar="USER", help="Whose; empty means yours.")]
_Kind = Annotated[
    str, typer.Argument(metavar="KIND", help='What it is about, or "all"; see `preferences`.')
]
_Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help='"inbox" or "email".')]
_Switch = Annotated[str, typer.Argument(metavar="on|off", help="Whether it shall be told there.")]
_Email = Annotated[
    str, typer.Argument(metavar="ADDRESS", help='Where mail goes; "none" for no mail.')
]
_Status = Annotated[str, typer.Option("--status", help='"pending", "sent" or "dead"; else any.')]
_ChannelFilter = Annotated[str, typer.Option("--channel", help="On this channel; else on any.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead ones.")]
_All = Annotated[bool, typer.Option("--all", help="Every dead one.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(
        help="What you want to be told, and what could not be sent.", no_args_is_help=True
    )
    add_command(group, "preferences")(preferences)
    add_command(group, "set")(set_preference)
    add_command(group, "address")(address)
    add_command(group, "list")(list_deliveries)
    add_command(group, "dead")(dead)
    add_command(group, "retry")(retry)
    app.add_typer(group, name="notification")


async def preferences(call: Invocation, user: _User = "") -> None:
    """Show on which channels you hear of which kinds, and where your mail goes."""
    async with call.client() as client:
        answer = await client.notifications.GetPreferences(
            pb.GetPreferencesRequest(username=user), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.draw(preferences_table(answer.preferences))
    call.output.say(f"mail goes to {answer.email}" if answer.email else "no address for mail")


async def set_preference(
    call: Invocation, kind: _Kind, channel: _Channel, switch: _Switch, user: _User = ""
) -> None:
    """Turn a kind, or all of them, on or off on a channel."""
    if switch not in _SWITCH:
        raise UsageInvalid(f"{switch!r} is neither on nor off", "end with on or off")
    async with call.client() as client:
        answer = await client.notifications.SetPreference(
            pb.SetPreferenceRequest(
                username=user,
                kind="" if kind == "all" else kind,
                channel=channel,
                on=_SWITCH[switch],
            ),
            timeout=CALL_TIMEOUT_SECONDS,
        )
    call.output.document(as_json(answer))
    call.output.draw(preferences_table(answer.preferences))


async def address(call: Invocation, email: _Email, user: _User = "") -> None:
    """Set where notifications are mailed to. The address of the account stays as it is."""
    email = "" if email == "none" else email
    async with call.client() as client:
        answer = await client.notifications.SetAddress(
            pb.SetAddressRequest(username=user, email=email), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document(as_json(answer))
    call.output.say(
        f"mail goes to {email}"
        if email
        else "mail goes to the address of the account, if it has one"
    )


async def list_deliveries(
    call: Invocation, status: _Status = "", channel: _ChannelFilter = "", limit: _Limit = 50
) -> None:
    """List what was sent, waits or is dead, newest first. For owners and auditors."""
    if status not in _STATUSES:
        raise UsageInvalid(f"--status {status!r} is none", "give pending, sent or dead")
    await _list(call, status, channel, limit)


async def dead(call: Invocation, channel: _ChannelFilter = "", limit: _Limit = 50) -> None:
    """List what could not be sent, newest first. For owners and auditors."""
    await _list(call, "dead", channel, limit)


async def retry(call: Invocation, ids: _Ids = None, everything: _All = False) -> None:
    """Let what could not be sent be tried again. For owners."""
    async with call.client() as client:
        answer = await client.notifications.RetryDeliveries(
            pb.RetryDeliveriesRequest(ids=ids or (), all=everything), timeout=CALL_TIMEOUT_SECONDS
        )
    call.output.document({"count": answer.count})
    call.output.say(f"{answer.count} will be tried again")


async def _list(call: Invocation, status: str, channel: str, limit: int) -> None:
    found: list[pb.Delivery] = []
    token = ""
    async with call.client() as client:
        while len(found) < limit:
            answer = await client.notifications.ListDeliveries(
                pb.ListDeliveriesRequest(
                    status=_STATUSES[status],
                    channel=channel,
                    page_size=min(PAGE_SIZE, limit - len(found)),
                    page_token=token,
                ),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            found.extend(answer.deliveries)
            token = answer.next_page_token
            if not token:
                break
    call.output.document({"deliveries": [as_json(each) for each in found]})
    call.output.draw(deliveries_table(found, call.clock.now()))
