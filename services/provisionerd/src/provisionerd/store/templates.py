"""Unpacked templates, shared between the jobs of one version and found by the archive's digest.

Promises: a directory appears whole or not at all, and only if the archive's SHA-256 is the one that
was asked for; jobs only read it; at most `versions_max` are kept, and none is removed while a job
of this process uses it. A crash leaves at most a `.partial` directory, which the next start wipes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from provisionerd.core.errors import ControlPlaneUnavailable, TemplateInvalid
from provisionerd.store.archive import unpack

__all__ = ["ARCHIVE_BYTES_MAX", "TemplateCache"]

ARCHIVE_BYTES_MAX = 32 * 1024 * 1024
_PARTIAL = ".partial"


class TemplateCache:
    """The cache under one directory, for one process."""

    def __init__(
        self,
        directory: Path,
        *,
        versions_max: int = 64,
        archive_bytes_max: int = ARCHIVE_BYTES_MAX,
    ) -> None:
        self._directory = directory
        self._versions_max = versions_max
        self._archive_bytes_max = archive_bytes_max
        self._users: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    def prepare(self) -> None:
        """Makes the directory and wipes what an earlier process left half done."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._directory.glob(f"*{_PARTIAL}*"):
            _remove(path)

    @asynccontextmanager
    async def use(
        self, sha256: str, download: Callable[[], AsyncGenerator[bytes]]
    ) -> AsyncGenerator[Path]:
        """The unpacked template; downloads it if it is not here yet. Jobs that want the same one
        wait for one download.
        """
        self._users[sha256] += 1
        try:
            async with self._locks.setdefault(sha256, asyncio.Lock()):
                path = self._directory / sha256
                if not await asyncio.to_thread(_touch, path):
                    await self._fetch(sha256, download, path)
            yield path
        finally:
            self._users[sha256] -= 1
            if not self._users[sha256]:
                del self._users[sha256]
                self._locks.pop(sha256, None)

    async def _fetch(
        self, sha256: str, download: Callable[[], AsyncGenerator[bytes]], path: Path
    ) -> None:
        archive = self._directory / f"{sha256}{_PARTIAL}.tar.gz"
        unpacked = self._directory / f"{sha256}{_PARTIAL}"
        try:
            await self._download(download(), archive, sha256)
            await asyncio.to_thread(_unpack_to, archive, unpacked, path)
        finally:
            await asyncio.to_thread(_remove, archive)
            await asyncio.to_thread(_remove, unpacked)
        in_use = frozenset(self._users)
        await asyncio.to_thread(_forget_old, self._directory, self._versions_max, in_use)

    async def _download(self, chunks: AsyncGenerator[bytes], archive: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        size = 0
        with archive.open("wb") as file:
            async with aclosing(chunks):
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._archive_bytes_max:
                        raise TemplateInvalid(
                            f"the template's archive is larger than {self._archive_bytes_max} bytes"
                        )
                    digest.update(chunk)
                    file.write(chunk)
        if digest.hexdigest() != sha256:
            # cut short or altered on its way; a second download may be whole
            raise ControlPlaneUnavailable("DATA_LOSS", "the template's archive arrived damaged")


def _touch(path: Path) -> bool:
    """Notes that a version was used; False if it is not here."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _unpack_to(archive: Path, unpacked: Path, path: Path) -> None:
    _remove(unpacked)
    unpacked.mkdir(mode=0o755)
    unpack(archive, unpacked)
    unpacked.rename(path)


def _forget_old(directory: Path, versions_max: int, in_use: frozenset[str]) -> None:
    versions = [path for path in directory.iterdir() if _PARTIAL not in path.name]
    versions.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in versions[versions_max:]:
        if path.name not in in_use:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
