"""audit."""

from __future__ import annotations

from typing import Annotated

import typer

from warmpool.control.v1.people_pb2 import AuditEntry, ListAuditRequest
from warmpool_cli.client import CALL_TIMEOUT_SECONDS
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import as_json
from warmpool_cli.render.people import audit_table

__all__ = ["register"]

PAGE_SIZE = 500
_Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "audit")(audit)


async def audit(call: Invocation, limit: _Limit = 100) -> None:
    """Show who did what, newest first."""
    found: list[AuditEntry] = []
    token = ""
    async with call.client() as client:
        while len(found) < limit:
            answer = await client.people.ListAudit(
                ListAuditRequest(page_size=min(PAGE_SIZE, limit - len(found)), page_token=token),
                timeout=CALL_TIMEOUT_SECONDS,
            )
            found.extend(answer.entries)
            token = answer.next_page_token
            if not token:
                break
    call.output.document({"entries": [as_json(entry) for entry in found]})
    call.output.draw(audit_table(found))
