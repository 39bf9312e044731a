"""What one look found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from warmpool_cli.output import JsonValue

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """How it is: a warning leaves something out of reach, a failure leaves the main job so."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `fix` is empty if all is well."""

    name: str
    verdict: Verdict
    message: str
    fix: str = ""

    def as_json(self) -> dict[str, JsonValue]:
        """The finding as JSON."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "message": self.message,
            "fix": self.fix,
        }
