"""What travels on the bus: small versioned JSON objects, and the raw string of an older writer.

Readers are lenient towards other releases: unknown fields are ignored, the known fields of a newer
version are taken, a missing field is empty. They are strict towards everything else, because anyone
with access to the bus may write to it: size, depth, types and identifiers are checked, and what
fails is EventInvalid. A claim that is not a JSON object is the bare reason of an older writer; the
workspace is then known from the subject.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

from bus import subjects
from bus.errors import EventInvalid, SubjectInvalid

__all__ = [
    "EVENT_BYTES_MAX",
    "REASON_CLAIMED",
    "Event",
    "JobPosted",
    "PoolChanged",
    "PrebuildClaimed",
    "WorkspaceChanged",
    "decode_claim",
    "decode_job_posted",
    "decode_pool_changed",
    "decode_workspace_changed",
    "encode_event",
]

VERSION: Final = 1
EVENT_BYTES_MAX: Final = 8_192  # five short fields, and room for those of newer versions
DEPTH_MAX: Final = 16
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
TEXT_LENGTH_MAX: Final = 256
REASON_CLAIMED: Final = "prebuild_claimed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrebuildClaimed:
    """A claim has become deliverable. Owner and claim are empty if an older writer said so."""

    workspace_id: str
    owner_id: str = ""
    reason: str = REASON_CLAIMED
    claim_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPosted:
    """A job waits for a worker of this kind."""

    job_id: str
    provisioner_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChanged:
    """Look at this pool now; the reason is for logs."""

    preset_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceChanged:
    """Look at this workspace now."""

    workspace_id: str


Event = PrebuildClaimed | JobPosted | PoolChanged | WorkspaceChanged


def encode_event(event: Event, *, raw: bool = False) -> bytes:
    """The payload of an event; `raw` makes a claim readable for releases that know no JSON.

    Raises ValueError if `raw` is asked for another kind of event.
    """
    if raw:
        if not isinstance(event, PrebuildClaimed):
            raise ValueError(f"raw {type(event).__name__}: only claims have a raw form")
        return event.reason.encode()
    fields: dict[str, object] = {"version": VERSION}
    match event:
        case PrebuildClaimed():
            fields |= {
                "workspace_id": event.workspace_id,
                "owner_id": event.owner_id,
                "reason": event.reason,
                "claim_id": event.claim_id,
            }
        case JobPosted():
            fields |= {"job_id": event.job_id, "provisioner_type": event.provisioner_type}
        case PoolChanged():
            fields |= {"preset_id": event.preset_id, "reason": event.reason}
        case WorkspaceChanged():
            fields |= {"workspace_id": event.workspace_id}
    return _encode(fields).encode()


def decode_claim(subject: str, payload: bytes) -> PrebuildClaimed:
    """The claim a message announces, as JSON or as a bare reason; EventInvalid if neither."""
    workspace_id = _id_of_subject(subjects.parse_claims_subject, subject)
    text = _read_text(payload)
    fields = _read_object(text)
    if fields is None:
        return PrebuildClaimed(workspace_id=workspace_id, reason=_check_text("payload", text))
    return PrebuildClaimed(
        workspace_id=_same_id(fields, "workspace_id", workspace_id),
        owner_id=_read_id(fields, "owner_id"),
        reason=_read_string(fields, "reason") or REASON_CLAIMED,
        claim_id=_read_id(fields, "claim_id"),
    )


def decode_job_posted(payload: bytes) -> JobPosted:
    """The job announced by a message; EventInvalid if it is none."""
    fields = _require_object(payload)
    return JobPosted(
        job_id=_read_id(fields, "job_id"),
        provisioner_type=_read_string(fields, "provisioner_type"),
    )


def decode_pool_changed(subject: str, payload: bytes) -> PoolChanged:
    """The pool announced by a message; EventInvalid if it is none."""
    preset_id = _id_of_subject(subjects.parse_pools_changed_subject, subject)
    fields = _require_object(payload)
    return PoolChanged(
        preset_id=_same_id(fields, "preset_id", preset_id), reason=_read_string(fields, "reason")
    )


def decode_workspace_changed(subject: str, payload: bytes) -> WorkspaceChanged:
    """The workspace announced by a message; EventInvalid if it is none."""
    workspace_id = _id_of_subject(subjects.parse_workspaces_changed_subject, subject)
    fields = _require_object(payload)
    return WorkspaceChanged(workspace_id=_same_id(fields, "workspace_id", workspace_id))


def _id_of_subject(parse: Callable[[str], str], subject: str) -> str:
    try:
        return parse(subject)
    except SubjectInvalid as error:
        raise EventInvalid(str(error)) from error


def _read_text(payload: bytes) -> str:
    if len(payload) > EVENT_BYTES_MAX:
        raise EventInvalid(
            f"payload of {len(payload)} bytes: at most {EVENT_BYTES_MAX} are allowed"
        )
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EventInvalid("payload: must be UTF-8 text") from error


def _read_object(text: str) -> Mapping[str, object] | None:
    """The JSON object in a text; None if it is anything else."""
    if _depth_of(text) > DEPTH_MAX:
        raise EventInvalid(f"payload: nested deeper than {DEPTH_MAX} levels")
    try:
        value: object = json.loads(text)
    except ValueError:  # also a number with too many digits
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def _require_object(payload: bytes) -> Mapping[str, object]:
    fields = _read_object(_read_text(payload))
    if fields is None:
        raise EventInvalid("payload: must be a JSON object")
    _check_version(fields)
    return fields


def _depth_of(text: str) -> int:
    """An upper bound of the nesting, brackets within strings included; 0 if there are too few."""
    depth = deepest = 0
    if text.count("[") + text.count("{") <= DEPTH_MAX:
        return 0  # it need not be known: every event of ours is one of these
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _check_version(fields: Mapping[str, object]) -> None:
    version = fields.get("version", VERSION)
    if type(version) is not int or version < 1:
        raise EventInvalid("version: must be a whole number from 1")


def _read_string(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise EventInvalid(f"{name}: must be a string, not {type(value).__name__}")
    return _check_text(name, value)


def _check_text(name: str, value: str) -> str:
    if len(value) > TEXT_LENGTH_MAX or not value.isprintable():
        raise EventInvalid(f"{name}: must be printable, at most {TEXT_LENGTH_MAX} characters")
    return value


def _read_id(fields: Mapping[str, object], name: str) -> str:
    value = _read_string(fields, name)
    if not value:
        return ""
    try:
        return str(UUID(value))
    except ValueError as error:
        raise EventInvalid(f"{name}: must be a UUID") from error


def _same_id(fields: Mapping[str, object], name: str, of_subject: str) -> str:
    _check_version(fields)
    if fields.get(name) != of_subject and _read_id(fields, name) not in ("", of_subject):
        raise EventInvalid(f"{name}: is not the one of the subject")
    return of_subject
