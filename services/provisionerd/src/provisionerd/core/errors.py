"""Why provisioning fails.

ProvisionError                 it failed; `retryable` says whether another attempt may succeed
├── TemplateInvalid            the template is wrong; nothing but a new version mends it
├── ParameterInvalid           a value is wrong; the person who gave it can mend it
└── ProvisionCanceled          it was asked to stop, and did
"""

from __future__ import annotations

__all__ = ["ParameterInvalid", "ProvisionCanceled", "ProvisionError", "TemplateInvalid"]


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


class ProvisionCanceled(ProvisionError):
    """The job was asked to stop, and did."""

    reason = "CANCELED"

    def __init__(self, message: str = "canceled on request") -> None:
        super().__init__(message)
