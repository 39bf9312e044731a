"""Templates: what may be pushed, and what their versions ask and offer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from reconciler.core.lifecycle import TemplatePolicy
from reconciler.core.names import check_name
from svckit.errors import InvalidArgument, ResourceExhausted

__all__ = [
    "ARCHIVE_BYTES_MAX",
    "CHUNK_BYTES_MAX",
    "PROVISIONER_TYPES",
    "Archive",
    "ImportResult",
    "ImportedOption",
    "ImportedParameter",
    "ImportedPrebuilds",
    "ImportedPreset",
    "ImportedSchedule",
    "PresetView",
    "Push",
    "TemplateView",
    "Upload",
    "VersionView",
    "check_push",
    "check_version_name",
]

ARCHIVE_BYTES_MAX: Final = 32 * 1024 * 1024
CHUNK_BYTES_MAX: Final = 1024 * 1024
PROVISIONER_TYPES: Final = ("terraform", "process")
MESSAGE_MAX: Final = 4096  # characters
TAGS_MAX: Final = 32
TAG_NAME_MAX: Final = 64  # characters
TAG_VALUE_MAX: Final = 256  # characters

_GZIP_MAGIC: Final = b"\x1f\x8b"
_VERSION_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOption:
    """One allowed value of a parameter."""

    name: str
    value: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedParameter:
    """Something a template asks of its user. The fields are named as a version's row has them."""

    name: str
    type: str = "string"
    display_name: str = ""
    description: str = ""
    default_value: str = ""
    has_default: bool = False
    mutable: bool = False
    ephemeral: bool = False
    options: tuple[ImportedOption, ...] = ()
    validation_regex: str = ""
    validation_error: str = ""
    validation_min: int | None = None
    validation_max: int | None = None
    validation_monotonic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSchedule:
    """A cron window, and the pool's size while it is open."""

    cron: str
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPrebuilds:
    """The pool of a preset. `ttl_seconds` 0 means that members do not age."""

    instances: int
    ttl_seconds: int = 0
    timezone: str = ""
    schedules: tuple[ImportedSchedule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPreset:
    """A named parameter set, with a pool or without."""

    name: str
    is_default: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    description: str = ""
    icon: str = ""
    prebuilds: ImportedPrebuilds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import found. It may come from anybody's template: see `reconciler.core.imports`."""

    parameters: tuple[ImportedParameter, ...] = ()
    presets: tuple[ImportedPreset, ...] = ()
    agent_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateView:
    """A template as people see it. Without an active version its id is None and its name empty."""

    id: UUID
    organization_id: UUID
    name: str
    provisioner_type: str
    active_version_id: UUID | None
    active_version_name: str
    created_at: datetime
    policy: TemplatePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetView:
    """A stored preset."""

    id: UUID
    preset: ImportedPreset


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """A version as people see it. Parameters and presets are there once it is imported, and left
    out of listings.
    """

    id: UUID
    template_id: UUID
    organization_id: UUID
    name: str
    job_id: UUID
    import_status: str
    import_error: str
    is_active: bool
    created_at: datetime
    message: str
    parameters: tuple[ImportedParameter, ...] = ()
    presets: tuple[PresetView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A new version somebody asks for. An empty `version` means the next "vN"; no tags means those
    the template has.
    """

    template: str
    version: str
    provisioner_type: str
    is_promoted: bool
    message: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A template's files, as a gzipped tar."""

    sha256: bytes
    content: bytes = field(repr=False)


class Upload:
    """Takes an archive in parts."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._hash = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Takes the next part. Raises InvalidArgument or ResourceExhausted if it is too much."""
        if len(chunk) > CHUNK_BYTES_MAX:
            raise InvalidArgument(
                f"chunk: {len(chunk)} bytes; at most {CHUNK_BYTES_MAX} are allowed in a message",
                reason="CHUNK_TOO_LARGE",
                field="chunk",
            )
        if len(self._content) + len(chunk) > ARCHIVE_BYTES_MAX:
            raise ResourceExhausted(
                f"chunk: the archive has more than {ARCHIVE_BYTES_MAX} bytes, which are allowed;"
                " leave large files out of the template",
                reason="ARCHIVE_TOO_LARGE",
                field="chunk",
            )
        self._content += chunk
        self._hash.update(chunk)

    def finish(self) -> Archive:
        """The whole archive; raises InvalidArgument if it cannot be one."""
        if not self._content.startswith(_GZIP_MAGIC):
            what = "is not gzipped" if self._content else "is empty"
            raise InvalidArgument(
                f"chunk: the archive {what}; send a gzipped tar of the template's directory",
                reason="ARCHIVE_INVALID",
                field="chunk",
            )
        return Archive(sha256=self._hash.digest(), content=bytes(self._content))


def check_version_name(name: str, name_of_field: str) -> str:
    """The name, or InvalidArgument that says what is allowed."""
    if not _VERSION_NAME.fullmatch(name):
        raise InvalidArgument(
            f'{name_of_field}: "{name[:64]}" is not allowed; use 1 to 64 of a-z, A-Z, 0-9, ".", "_"'
            ' and "-", a letter or digit first',
            reason="NAME_INVALID",
            field=name_of_field,
        )
    return name


def check_push(push: Push) -> None:
    """Raises InvalidArgument for the first field of a header that is not allowed."""
    check_name(push.template, "header.template")
    if push.version:
        check_version_name(push.version, "header.version")
    if push.provisioner_type not in PROVISIONER_TYPES:
        raise _refuse(
            "provisioner_type",
            f'"{push.provisioner_type[:64]}" is unknown; use one of {", ".join(PROVISIONER_TYPES)}',
        )
    if len(push.message) > MESSAGE_MAX or "\0" in push.message:
        raise _refuse("message", f"is too long or holds a NUL; at most {MESSAGE_MAX} characters")
    if len(push.tags) > TAGS_MAX:
        raise _refuse("provisioner_tags", f"has {len(push.tags)} tags; at most {TAGS_MAX}")
    for name, value in push.tags.items():
        if not 0 < len(name) <= TAG_NAME_MAX or len(value) > TAG_VALUE_MAX or "\0" in name + value:
            raise _refuse(
                "provisioner_tags",
                f'tag "{name[:64]}" is not allowed; names have 1 to {TAG_NAME_MAX} characters,'
                f" values at most {TAG_VALUE_MAX}, none of them NUL",
            )


def _refuse(name: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"header.{name}: {what}", reason="HEADER_INVALID", field=f"header.{name}"
    )
