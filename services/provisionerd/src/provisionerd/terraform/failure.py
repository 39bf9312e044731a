"""Which error a failed command becomes: whose fault it is, and whether repeating may help.

Pure. The first line of every message is the cause; the other errors and the last lines of standard
error follow, masked by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from provisionerd.commands.run import Outcome
from provisionerd.core.errors import (
    ParameterInvalid,
    ProvisionCanceled,
    ProvisionError,
    TemplateInvalid,
)
from provisionerd.terraform.events import Diagnostic

__all__ = ["explain", "needs_init"]

_INIT_SUMMARIES = (
    "Module not installed",
    "Module source has changed",
    "Module version requirements have changed",
    "Inconsistent dependency lock file",
    "Required plugins are not installed",
    "Backend initialization required",
    "Missing required provider",
    "Could not load plugin",
    "Initialization required",
)
_PLUGIN_SUMMARIES = ("Plugin error", "Plugin did not respond", "Failed to load plugin schemas")


def needs_init(errors: Sequence[Diagnostic]) -> bool:
    """Whether `terraform init` would mend it: modules or providers are missing."""
    return any(
        any(summary in error.summary for summary in _INIT_SUMMARIES)
        or "terraform init" in error.detail
        or "tofu init" in error.detail
        for error in errors
    )


def explain(
    stage: str, outcome: Outcome, errors: Sequence[Diagnostic], *, template_only: bool
) -> ProvisionError:
    """Names the error. `template_only` says that no value of a person took part, so what points
    into the template is the template's fault.
    """
    if outcome.asked_to_stop:
        return ProvisionCanceled()
    if outcome.timed_out:
        return ProvisionError(f"{stage} took longer than allowed and was stopped")
    if not errors:
        return _explain_silence(stage, outcome)
    first = errors[0]
    message = "\n".join(error.cause for error in errors)
    if any(summary in first.summary for summary in _PLUGIN_SUMMARIES):
        return ProvisionError(message, retryable=True)  # a provider crashed: nobody's fault
    if "data.coder_parameter." in first.address and not template_only:
        return ParameterInvalid(message)
    if template_only and first.filename:
        return TemplateInvalid(message)
    return ProvisionError(message, retryable=stage == "init")


def _explain_silence(stage: str, outcome: Outcome) -> ProvisionError:
    """No diagnostic: it crashed, was terminated from outside, or prints none."""
    said = [line for line in outcome.stderr if line.strip(" ╷│╵─")]
    cause = said[-1].strip(" ╷│╵─") if said else "it gave no reason"
    for line in said:
        if "Error: " in line:
            cause = line.strip(" ╷│╵─").removeprefix("Error: ")
            break
    how = (
        f"terraform {stage} was ended by signal {-outcome.exit_code}"
        if outcome.exit_code < 0
        else f"terraform {stage} failed with exit code {outcome.exit_code}"
    )
    return ProvisionError(
        "\n".join([f"{how}: {cause}", *said]), retryable=outcome.exit_code < 0 or stage == "init"
    )
