"""What `terraform init` installed, shared between the jobs of one template version.

Promises: one init at a time on this machine's cache, because terraform's provider cache does not
bear two; a directory counts only when its init succeeded; afterwards jobs only read it, side by
side. A crash in between leaves a directory without its mark, and the next job starts it anew.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from provisionerd.core.errors import ProvisionCanceled
from provisionerd.core.provisioner import Cancel

__all__ = ["InitCache", "Installed"]

_LOCK_FILE = ".terraform.lock.hcl"
# Init has compared what it installed with these. Left in the file, they would make every later
# command read and digest every provider again, half a second and more for a large one.
_HASHES = re.compile(r"^\s*hashes\s*=\s*\[[^\]]*\]\n", re.MULTILINE)
_RETRY_SECONDS = 0.1
_VERSIONS_MAX = 64
_IDLE_SECONDS = 86_400.0  # longer than any build that may still read one


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Where one template version's modules and provider links are."""

    data_dir: Path
    root: Path

    @property
    def is_complete(self) -> bool:
        """Whether its init succeeded."""
        return (self.root / "complete").exists()

    def reuse(self, source_dir: Path) -> None:
        """Gives a job's copy of the template the lock file its init wrote."""
        (self.root / "complete").touch()  # in use: not to be forgotten soon
        kept = self.root / _LOCK_FILE
        if kept.exists():
            shutil.copyfile(kept, source_dir / _LOCK_FILE)

    def begin(self) -> None:
        """Clears what an earlier, failed init may have left."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.data_dir.mkdir(parents=True)

    def complete(self, source_dir: Path) -> None:
        """Marks it good."""
        written = source_dir / _LOCK_FILE
        if written.exists():
            lock = _HASHES.sub("", written.read_text(encoding="utf-8"))
            (self.root / _LOCK_FILE).write_text(lock, encoding="utf-8")
        (self.root / "complete").touch()
        _forget_old(self.root.parent, self.root / "complete")


class InitCache:
    """The cache under one directory."""

    def __init__(self, cache_dir: Path) -> None:
        self._dir = cache_dir
        self.plugin_dir = cache_dir / "plugins"

    def prepare(self) -> None:
        """Makes the directories; terraform refuses a provider cache that does not exist."""
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.plugin_dir.mkdir(exist_ok=True, mode=0o700)

    def find(self, key: str, tool: str) -> Installed:
        """The place for a template version; terraform and tofu do not share one."""
        root = self._dir / "init" / f"{tool}-{key[:32]}"
        return Installed(data_dir=root / "data", root=root)

    @asynccontextmanager
    async def lock(self, cancel: Cancel) -> AsyncGenerator[None]:
        """Holds the right to run init; waiting for it ends when the job is cancelled."""
        with (self._dir / "init.lock").open("w", encoding="ascii") as file:
            while not _try_lock(file):
                try:
                    async with asyncio.timeout(_RETRY_SECONDS):
                        await cancel.graceful.wait()
                except TimeoutError:
                    continue
                raise ProvisionCanceled
            yield  # closing the file releases the lock


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_old(init_dir: Path, newest: Path) -> None:
    """Removes what was used longest ago, if there is too much and nobody can still read it."""
    used = sorted((mark.stat().st_mtime, mark.parent) for mark in init_dir.glob("*/complete"))
    oldest = newest.stat().st_mtime - _IDLE_SECONDS
    for used_at, root in used[:-_VERSIONS_MAX]:
        if used_at < oldest:
            shutil.rmtree(root, ignore_errors=True)
