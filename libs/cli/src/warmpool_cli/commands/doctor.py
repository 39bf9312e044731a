"""doctor."""

from __future__ import annotations

from importlib.metadata import version as installed_version

import typer
from rich.table import Table
from rich.text import Text

from warmpool_cli.checks.certificates import look_at_certificates
from warmpool_cli.checks.finding import Finding, Verdict
from warmpool_cli.checks.machine import look_at_machine
from warmpool_cli.checks.remote import look_at_system
from warmpool_cli.connection import resolve_connection
from warmpool_cli.errors import CliError, OperationFailed
from warmpool_cli.invocation import Invocation, add_command
from warmpool_cli.output import printable

__all__ = ["register"]

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    add_command(app, "doctor")(doctor)


async def doctor(call: Invocation) -> None:
    """Look at this machine and the control plane; say what is wrong and how to mend it."""
    findings = await look_at_machine(call.environ, call.directory)
    try:
        connection = resolve_connection(call.connection_flags, call.environ, call.directory)
    except CliError as error:
        findings.append(
            Finding(name="connection", verdict=Verdict.WARN, message=error.cause, fix=error.fix)
        )
    else:
        findings.extend(await look_at_certificates(connection, call.clock.now()))
        findings.extend(
            await look_at_system(connection, call.clock.now(), installed_version("warmpool-cli"))
        )
    failed = [finding.name for finding in findings if finding.verdict is Verdict.FAIL]
    call.output.document(
        {"ok": not failed, "findings": [finding.as_json() for finding in findings]}
    )
    call.output.draw(_report(findings))
    if failed:
        raise OperationFailed(f"not well: {', '.join(failed)}", "follow the fixes above")
    call.output.say("Nothing stands in the way.", style="green")


def _report(findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for finding in findings:
        table.add_row(
            Text(finding.verdict, style=_STYLES[finding.verdict]),
            finding.name,
            Text(printable(finding.message) + (f"\nfix: {finding.fix}" if finding.fix else "")),
        )
    return table
