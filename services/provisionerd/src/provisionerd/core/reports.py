"""How a job's end is told to the control plane.

What happened and who asked for it make the report: an attempt that was superseded says nothing,
because its words no longer count; work that was done is reported even when somebody had meanwhile
asked for its end; a job that only this worker's own departure ended is handed back, because
nobody who waits for it asked for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from provisionerd.core.errors import ControlPlaneRefused, ProvisionCanceled, ProvisionError
from provisionerd.core.jobs import Completion, JobFailure, JobResult

__all__ = ["Ended", "HandBack", "Raised", "Report", "SaidNothing", "Stopped", "decide_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The provisioner returned."""

    result: JobResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """The provisioner, or what prepares for it, raised."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job was stopped before the provisioner began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """The job is given back, for another worker to take at once."""

    reason: str


@dataclass(frozen=True, slots=True)
class SaidNothing:
    """Another attempt holds the job."""


Report = Completion | JobFailure | HandBack | SaidNothing

_CANCELED = JobFailure(error="canceled on request", reason="CANCELED", retryable=False)
_INTERNAL = "INTERNAL"


def decide_report(
    end: Ended | Raised | Stopped,
    *,
    superseded: bool,
    canceled: bool,
    draining: bool,
    cut_off: bool = False,
    tfstate_refused: str = "",
) -> Report:
    """What to say. `canceled`: the control plane asked the job to stop; `draining`: this worker
    asked it to, because it goes away; `cut_off`: it asked because the control plane was out of
    reach; `tfstate_refused`: why the last tfstate is not stored.
    """
    if superseded:
        return SaidNothing()
    if tfstate_refused:
        # nothing matters more: what the job made is known to nobody but this machine
        return JobFailure(
            error=f"the tfstate could not be stored: {tfstate_refused}",
            reason=_INTERNAL,
            retryable=False,
        )
    match end:
        case Ended(result=result):
            return Completion(result=result)
        case Stopped():
            return _report_stop(canceled=canceled, draining=draining, cut_off=cut_off)
        case Raised(error=ProvisionCanceled()):
            return _report_stop(canceled=canceled, draining=draining, cut_off=cut_off)
        case Raised(error=ProvisionError() as error):
            return JobFailure(error=error.message, reason=error.reason, retryable=error.retryable)
        case Raised(error=ControlPlaneRefused() as error):
            # meant to be shown, as every message of the control plane
            return JobFailure(
                error=f"the control plane refused: {error.detail or error.code}",
                reason=_INTERNAL,
                retryable=True,
            )
        case Raised(error=error):
            # its text may hold anything, a secret included; the worker's own log has it
            return JobFailure(
                error=f"the worker failed: {type(error).__name__}; its log says more",
                reason=_INTERNAL,
                retryable=True,
            )


def _report_stop(*, canceled: bool, draining: bool, cut_off: bool) -> Report:
    if canceled:
        return _CANCELED
    if draining:
        return HandBack(reason="the worker is shutting down")
    if cut_off:
        return HandBack(reason="the worker was cut off from the control plane")
    return JobFailure(
        error="the provisioner stopped although nobody asked it to",
        reason=_INTERNAL,
        retryable=True,
    )
