"""Unpacks a template's archive, which an author made and nobody here has read.

Promises: nothing is written outside the target; only files and directories are made; what is
unpacked is bounded in bytes and in entries however small the archive was; every refusal is a
`TemplateInvalid` that names the entry.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from provisionerd.core.errors import TemplateInvalid

__all__ = ["ENTRIES_MAX", "UNPACKED_BYTES_MAX", "unpack"]

UNPACKED_BYTES_MAX = 256 * 1024 * 1024
ENTRIES_MAX = 20_000
_NAME_BYTES_MAX = 1024
_COPY_BYTES = 64 * 1024


def unpack(
    archive: Path,
    target: Path,
    *,
    bytes_max: int = UNPACKED_BYTES_MAX,
    entries_max: int = ENTRIES_MAX,
) -> None:
    """Unpacks a gzipped tar into an existing, empty directory."""
    try:
        with tarfile.open(archive, mode="r|gz") as tar:
            _unpack_all(tar, target, bytes_max, entries_max)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        raise TemplateInvalid(
            f"the template's archive is damaged: {error}; a gzipped tar is needed"
        ) from error


def _unpack_all(tar: tarfile.TarFile, target: Path, bytes_max: int, entries_max: int) -> None:
    room = bytes_max
    for count, member in enumerate(tar, start=1):
        if count > entries_max:
            raise TemplateInvalid(f"the template has more than {entries_max} files")
        path = target.joinpath(*_check_name(member.name).parts)
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
            continue
        if not member.isreg():
            raise TemplateInvalid(
                f"{member.name!r} is a link or a device; a template holds files and directories"
            )
        room -= member.size
        if room < 0:
            raise TemplateInvalid(f"the template is larger than {bytes_max} bytes when unpacked")
        content = tar.extractfile(member)
        if content is not None:
            _write(content, path, executable=bool(member.mode & 0o100))


def _check_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or len(name.encode("utf-8", "surrogateescape")) > _NAME_BYTES_MAX
    ):
        raise TemplateInvalid(
            f"{name[:100]!r} is no name for a template's file; names are relative, without '..'"
            f" or backslash, at most {_NAME_BYTES_MAX} bytes"
        )
    return path


def _write(content: IO[bytes], path: Path, *, executable: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.touch(mode=0o755 if executable else 0o644)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file, _COPY_BYTES)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise TemplateInvalid(f"{path.name!r} is both a file and a directory") from error
