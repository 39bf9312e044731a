"""Why provisioning, and talking about it, fails.

ProvisionError                 it failed; `retryable` says whether another attempt may succeed
├── TemplateInvalid            the template is wrong; nothing but a new version mends it
├── ParameterInvalid           a value is wrong; the person who gave it can mend it
├── WorkerUnfit                this worker cannot run the job; another one may
└── ProvisionCanceled          it was asked to stop, and did
ControlPlaneError              a call to the control plane failed
├── JobSuperseded              the attempt is over: stop at once, say nothing
├── ControlPlaneUnavailable    it could not be reached or could not answer; try again
└── ControlPlaneRefused        it said no; the same words will be refused again
"""

from __future__ import annotations

__all__ = [
    "ControlPlaneError",
    "ControlPlaneRefused",
    "ControlPlaneUnavailable",
    "JobSuperseded",
    "ParameterInvalid",
    "ProvisionCanceled",
    "ProvisionError",
    "TemplateInvalid",
    "WorkerUnfit",
]


class ProvisionError(Exception):
    """The provisioner failed; the message is for the person who asked, one line first, details
    after.
    """

    reason = "PROVISIONER"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


class TemplateInvalid(ProvisionError):
    """The template is wrong: the message names file, line or attribute, what was found and what
    is allowed.
    """

    reason = "VALIDATION"


class ParameterInvalid(ProvisionError):
    """A parameter's value is wrong: the message names parameter, value and what is allowed."""

    reason = "VALIDATION"


class WorkerUnfit(ProvisionError):
    """This worker cannot run the job: it has no such provisioner, or is of too old a release."""

    reason = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class ProvisionCanceled(ProvisionError):
    """The job was asked to stop, and did."""

    reason = "CANCELED"

    def __init__(self, message: str = "canceled on request") -> None:
        super().__init__(message)


class ControlPlaneError(Exception):
    """A call to the control plane failed. `code` is the gRPC code's name, `detail` what it said."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class JobSuperseded(ControlPlaneError):
    """The attempt is over: another one holds the job, or nobody knows it any more."""


class ControlPlaneUnavailable(ControlPlaneError):
    """It could not be reached or could not answer; a repetition may succeed.
    `retry_after_seconds` is its wish, None if it had none.
    """

    def __init__(self, code: str, detail: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(code, detail)
        self.retry_after_seconds = retry_after_seconds


class ControlPlaneRefused(ControlPlaneError):
    """It said no, and will say no again."""
