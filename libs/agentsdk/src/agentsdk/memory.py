"""What the agent remembers over its own restarts: the last claim it heard of, and how far it got.

The gateway's durable record is what keeps a claim from being delivered twice; this file keeps an
agent that was restarted between two steps from doing a step twice or not at all. It is written
before the step it announces. Lost, damaged or another agent's, it counts as empty, which costs at
most one more run of the start scripts.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import cast

__all__ = ["NOTHING", "ClaimProgress", "ClaimRecord", "MemoryFile"]

_NAME = "warmpool-agent.json"
_SIZE_MAX_BYTES = 64 * 1024


class ClaimProgress(Enum):
    """How far the agent is with a claim."""

    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRecord:
    """The last claim the agent was told of."""

    claim_id: str = ""
    owner_id: str = ""
    progress: ClaimProgress | None = None

    @property
    def applied_claim_id(self) -> str:
        """The claim, if it was applied; else empty."""
        return self.claim_id if self.progress is ClaimProgress.APPLIED else ""


NOTHING = ClaimRecord()


class MemoryFile:
    """The file, one per directory; it belongs to one token."""

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self.path = directory / _NAME
        self._fingerprint = fingerprint

    def load(self) -> ClaimRecord:
        """What is remembered; `NOTHING` if there is nothing readable of this agent."""
        try:
            with self.path.open("rb") as file:
                content = cast("object", json.loads(file.read(_SIZE_MAX_BYTES)))
        except (OSError, ValueError, RecursionError):
            return NOTHING
        if not isinstance(content, dict):
            return NOTHING
        fields = cast("dict[str, object]", content)
        claim_id, owner_id = fields.get("claim_id"), fields.get("owner_id")
        if fields.get("token_fingerprint") != self._fingerprint:
            return NOTHING
        if not isinstance(claim_id, str) or not isinstance(owner_id, str):
            return NOTHING
        try:
            progress = ClaimProgress(fields.get("progress"))
        except ValueError:
            return NOTHING
        return ClaimRecord(claim_id=claim_id, owner_id=owner_id, progress=progress)

    def save(self, record: ClaimRecord) -> None:
        """Replaces what is remembered, all or nothing. Raises OSError."""
        content = {
            "version": 1,
            "token_fingerprint": self._fingerprint,
            "claim_id": record.claim_id,
            "owner_id": record.owner_id,
            "progress": record.progress.value if record.progress else "",
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{_NAME}.{os.getpid()}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
