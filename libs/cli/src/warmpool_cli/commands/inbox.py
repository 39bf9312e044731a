"""inbox list, read."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.notifications_pb2 import (
    InboxMessage,
    ListInboxRequest,
    MarkReadRequest,
)
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.notifications import inbox_table, message_lines

__all__ = ["register"]

PAGE_SIZE = 200
_Unread = Annotated[bool, typer.Option("--unread", help="Only what you have not read.")]
_Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
_Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Messages; none means the newest unread one."),
]
_All = Annotated[bool, typer.Option("--all", help="Mark everything as read, and show nothing.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="What you were told.", no_args_is_help=True)
    add_command(group, "list")(list_inbox)
    add_command(group, "read")(read)
    app.add_typer(group, name="inbox")


async def list_inbox(call: Invocation, unread: _Unread = False, limit: _Limit = 50) -> None:
    """List your inbox, newest first."""
    found: list[InboxMessage] = []
    token, count = "", 0
    async with call.client() as client:
        while len(found) < limit:
            answer = await client.notifications.ListInbox(
                ListInboxRequest(
                    unread=unread,
                    page_size=min(PAGE_SIZE, limit - len(found)),
                    page_token=token,
                ),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            found.extend(answer.messages)
            token, count = answer.next_page_token, answer.unread_count
            if not token:
                break
    call.output.document({"messages": [as_json(each) for each in found], "unread_count": count})
    call.output.draw(inbox_table(found))


async def read(call: Invocation, ids: _Ids = None, everything: _All = False) -> None:
    """Show messages in full and mark them as read."""
    if ids and everything:
        raise UsageInvalid("both messages and --all are given", "give one of them")
    async with call.client() as client:
        if everything:
            marked = await client.notifications.MarkRead(
                MarkReadRequest(), timeout=CALL_TIMEOUT_SECONDS
            )
            call.output.document({"messages": [], "count": marked.count})
            call.output.say(f"{marked.count} messages marked as read")
            return
        wanted = ids or []
        found: list[InboxMessage] = []
        token = ""
        while True:
            answer = await client.notifications.ListInbox(
                ListInboxRequest(
                    unread=not wanted, page_size=PAGE_SIZE if wanted else 1, page_token=token
                ),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            found += [each for each in answer.messages if not wanted or each.id in wanted]
            token = answer.next_page_token
            if not token or not wanted or len(found) == len(set(wanted)):
                break
        if found or wanted:  # an id that is not there is refused by name
            await client.notifications.MarkRead(
                MarkReadRequest(ids=wanted or [each.id for each in found]),
                timeout=CALL_TIMEOUT_SECONDS,
            )
    call.output.document({"messages": [as_json(each) for each in found], "count": len(found)})
    if not found:
        call.output.say("nothing is unread")
    for message in found:
        for line in message_lines(message):
            call.output.say(line)
