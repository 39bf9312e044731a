"""What may be said of a failure: its sort and its words, in one line, without our secrets."""

from __future__ import annotations

from reconciler.core.notifications.wording import one_line

__all__ = ["describe"]

CHARS_MAX = 300


def describe(error: BaseException, *secrets: str) -> str:
    """One line about an error. Peers choose what errors say, so every secret is taken out."""
    said = str(error)
    for secret in secrets:
        if secret:
            said = said.replace(secret, "***")
    name = type(error).__name__
    return one_line(f"{name}: {said}" if said else name, CHARS_MAX)
