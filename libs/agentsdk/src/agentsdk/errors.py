"""Why the agent could not do something.

AgentError
├── SettingsInvalid    the environment names no usable gateway or token; repeating does not help
└── CallFailed         the gateway answered a call with an error; `code` and `reason` say what helps

What is expected to happen (no claim yet, a claim that failed to build, a script that exits with 1)
is a value, not an error.
"""

from __future__ import annotations

__all__ = ["AgentError", "CallFailed", "SettingsInvalid"]


class AgentError(Exception):
    """The base of every error of this package."""


class SettingsInvalid(AgentError):
    """A setting is missing or unusable. The message names it, what is wrong, what is allowed."""

    def __init__(self, name: str, wrong: str, allowed: str) -> None:
        super().__init__(f"{name}: {wrong}; allowed: {allowed}")
        self.name = name


class CallFailed(AgentError):
    """A call ended with a status other than OK."""

    def __init__(
        self, *, code: str, reason: str, message: str, retry_after_seconds: float | None
    ) -> None:
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")
        self.code = code
        """The name of the gRPC status code, for example "UNAVAILABLE"."""
        self.reason = reason
        """The machine-readable reason the gateway gave, or empty."""
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        """How long the gateway asks to wait, in seconds; None if it did not say."""
