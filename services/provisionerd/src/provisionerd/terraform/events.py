"""Reads the lines `terraform -json` and `tofu -json` print.

Promises: every line becomes exactly one event; a line that is not JSON, or is JSON of a shape no
version printed so far, becomes `Text` and is never an error. Pure: no IO, no clock; times are those
the tool wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from provisionerd.core.provisioner import Level
from provisionerd.terraform.jsonvalues import integer, mapping, text

__all__ = ["Diagnostic", "Event", "Finished", "PlannedChange", "Started", "Summary", "Text", "read"]

_LEVELS = {
    "trace": Level.DEBUG,
    "debug": Level.DEBUG,
    "info": Level.INFO,
    "warn": Level.WARN,
    "error": Level.ERROR,
}
_QUIET = frozenset({"version", "refresh_start", "refresh_complete", "outputs", "init_output"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line with nothing to decide on."""

    level: Level
    message: str
    from_outside: bool = False  # the output of a template's own command


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """An error or a warning, where it points to, and about which resource."""

    level: Level
    summary: str
    detail: str = ""
    filename: str = ""
    line: int = 0
    address: str = ""

    @property
    def cause(self) -> str:
        """One line: where, what, why."""
        where = f"{self.filename}:{self.line}: " if self.filename else ""
        subject = f"{self.address}: " if self.address else ""
        why = " ".join(self.detail.split())
        what = f"{self.summary.rstrip('.:')}: {why}" if why else self.summary
        return f"{where}{subject}{what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What the plan wants to do with one resource."""

    message: str
    address: str
    resource_type: str
    action: str  # create, read, update, replace, delete, move, import, forget, no-op
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The plan is made (`operation` "plan"), or carried out ("apply", "destroy")."""

    message: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Work on one resource began."""

    message: str
    address: str
    action: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Work on one resource ended, well or badly."""

    message: str
    address: str
    action: str
    at: datetime | None
    failed: bool


Event = Text | Diagnostic | PlannedChange | Summary | Started | Finished


def read(line: str) -> Event:
    """Reads one line."""
    try:
        parsed: object = json.loads(line)
    except ValueError:
        return Text(level=Level.INFO, message=line)
    fields = mapping(parsed)
    message = text(fields.get("@message"))
    if not message:
        return Text(level=Level.INFO, message=line)
    kind = text(fields.get("type"))
    level = _LEVELS.get(text(fields.get("@level")), Level.INFO)
    match kind:
        case "diagnostic":
            return _read_diagnostic(level, message, mapping(fields.get("diagnostic")))
        case "planned_change":
            return _read_planned_change(message, mapping(fields.get("change")))
        case "change_summary":
            operation = text(mapping(fields.get("changes")).get("operation"))
            return Summary(message=message, operation=operation)
        case "apply_start":
            address, action = _read_hook(fields)
            return Started(message=message, address=address, action=action, at=_read_at(fields))
        case "apply_complete" | "apply_errored":
            address, action = _read_hook(fields)
            return Finished(
                message=message,
                address=address,
                action=action,
                at=_read_at(fields),
                failed=kind == "apply_errored",
            )
        case _:
            quiet = kind in _QUIET and level is Level.INFO
            return Text(
                level=Level.DEBUG if quiet else level,
                message=message,
                from_outside=kind == "provision_progress",
            )


def _read_diagnostic(level: Level, message: str, fields: Mapping[str, object]) -> Diagnostic:
    place = mapping(fields.get("range"))
    return Diagnostic(
        level=Level.WARN if text(fields.get("severity")) == "warning" else level,
        summary=text(fields.get("summary")) or message,
        detail=text(fields.get("detail")),
        filename=_shorten(text(place.get("filename"))),
        line=integer(mapping(place.get("start")).get("line")) or 0,
        address=text(fields.get("address")),
    )


def _read_planned_change(message: str, fields: Mapping[str, object]) -> PlannedChange:
    resource = mapping(fields.get("resource"))
    return PlannedChange(
        message=message,
        address=text(resource.get("addr")),
        resource_type=text(resource.get("resource_type")),
        action=text(fields.get("action")),
        reason=text(fields.get("reason")),
    )


def _read_hook(fields: Mapping[str, object]) -> tuple[str, str]:
    hook = mapping(fields.get("hook"))
    return text(mapping(hook.get("resource")).get("addr")), text(hook.get("action"))


def _read_at(fields: Mapping[str, object]) -> datetime | None:
    try:
        return datetime.fromisoformat(text(fields.get("@timestamp")))
    except ValueError:
        return None


def _shorten(filename: str) -> str:
    """A file of an installed module without where this worker keeps those."""
    _, found, inside = filename.rpartition("/data/modules/")
    return f"modules/{inside}" if found else filename
