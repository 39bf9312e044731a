"""The `warmpool` command: parses, runs, and turns every failure into two lines and a code."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import typer

from embedded.errors import DirectoryInUse, EmbeddedError
from warmpool_cli.errors import CliError, Conflict, ExitCode, OperationFailed, UsageInvalid
from warmpool_cli.interrupts import run_until_signal
from warmpool_cli.output import printable

__all__ = ["main", "parse", "run"]

LOG_LINE_MAX = 400
SHARED_OPTIONS = frozenset({"--output", "-o", "--address", "--token-file", "--ca-file"})


def main() -> None:
    """Runs this process's command line and ends it with the documented exit code."""
    try:
        code = asyncio.run(run(sys.argv[1:]))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.FAILED
    sys.exit(code)


async def run(arguments: Sequence[str]) -> int:
    """Runs one command line to its end and returns its exit code."""
    try:
        work = parse(arguments)
        if isinstance(work, int):
            return work
        await run_until_signal(work)
    except CliError as error:
        _report(error)
        return error.exit_code
    except EmbeddedError as error:
        explained = _explain_start(error)
        _report(explained)
        return explained.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _report(OperationFailed(str(error), "make the file or directory accessible; try again"))
        return ExitCode.FAILED
    return ExitCode.OK


def parse(arguments: Sequence[str]) -> Coroutine[Any, Any, None] | int:
    """The work a command line asks for, or an exit code if there is none left to do.

    Raises UsageInvalid for a command line that is not valid.
    """
    from warmpool_cli.app import app  # late: most of the start is in it

    _check_text(arguments)
    command = typer.main.get_command(app)
    try:
        outcome: object = command.main(
            args=list(arguments), prog_name="warmpool", standalone_mode=False
        )
    except typer.TyperException as error:
        if not error.format_message():  # a group without a command has printed its help
            return ExitCode.USAGE
        raise UsageInvalid(error.format_message(), _usage_fix(error)) from error
    except typer.Abort:
        return ExitCode.FAILED
    if inspect.iscoroutine(outcome):
        return outcome
    return outcome if isinstance(outcome, int) else ExitCode.OK


def _check_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            raise UsageInvalid(
                f"the argument '{shown}' is not text in UTF-8", "give names and values as text"
            ) from None


def _explain_start(error: EmbeddedError) -> CliError:
    """One line of what may quote the end of a log: its first line and its last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[0] if len(lines) < 2 else f"{lines[0]} {lines[-1][-LOG_LINE_MAX:]}"
    if isinstance(error, DirectoryInUse):
        return Conflict(cause, "see whether `warmpool up` runs in another terminal")
    return OperationFailed(cause, "see the log named, mend what it says; try `warmpool doctor`")


def _usage_fix(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "warmpool")
    option = getattr(error, "option_name", "")
    if path == "warmpool" and option in SHARED_OPTIONS:
        return f"give {option} behind the command, as in `warmpool list {option} ...`"
    return f"see `{path} --help`"


def _report(error: CliError) -> None:
    for line in (f"error: {error.cause}", f"  fix: {error.fix}"):
        print(printable(line), file=sys.stderr)
