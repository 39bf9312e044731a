"""Runs a template's setup in the foreground of a build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from provisionerd.commands.run import Command, Limits, run
from provisionerd.core.errors import ProvisionCanceled, ProvisionError
from provisionerd.core.provisioner import Job, Level
from provisionerd.process.settings import ProcessSettings

__all__ = ["run_setup"]

STAGE = "setup"


async def run_setup(
    job: Job,
    script: str,
    *,
    directory: Path,
    env: Mapping[str, str],
    timeout_seconds: float,
    settings: ProcessSettings,
) -> None:
    """Runs it with /bin/sh; its output is the build's log.

    Raises ProvisionError if it fails or takes too long, ProvisionCanceled if the job is.
    """
    outcome = await run(
        Command(argv=("/bin/sh", "-c", "exec 2>&1\n" + script), cwd=directory, env=env),
        limits=Limits(
            timeout_seconds=timeout_seconds,
            interrupt_grace_seconds=settings.interrupt_grace_seconds,
            shutdown_grace_seconds=settings.sweep_grace_seconds,
            line_bytes_max=settings.line_bytes_max,
        ),
        cancel=job.cancel,
        on_line=lambda line: job.log(Level.INFO, STAGE, line),
    )
    if outcome.timed_out:
        raise ProvisionError(f"the setup took more than {timeout_seconds:g} s and was ended")
    if outcome.asked_to_stop:
        raise ProvisionCanceled
    if outcome.exit_code != 0:
        raise ProvisionError(f"the setup ended with {outcome.exit_code}; the log says why")
