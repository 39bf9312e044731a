"""A template's directory as one gzipped tar, the same bytes for the same files.

Sorted names, no owner, no times: pushing an unchanged directory twice uploads the same archive, so
that a server or a person can tell that nothing changed. What Terraform or git keep beside the
sources is left out: it is large, or secret, or of this machine only.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from warmpool_cli.errors import UsageInvalid

__all__ = ["ARCHIVE_BYTES_MAX", "TemplateArchive", "detect_provisioner_type", "pack_template"]

ARCHIVE_BYTES_MAX = 32 * 1024 * 1024
SOURCE_BYTES_MAX = 256 * 1024 * 1024  # far above what compresses into an archive; bounds our memory
FILES_MAX = 10_000
EXCLUDED_DIRECTORIES = frozenset({".terraform", ".git", ".warmpool", "__pycache__"})
EXCLUDED_FILES = ("*.tfstate", "*.tfstate.*", ".terraform.tfstate.lock.info", "crash.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateArchive:
    """What is uploaded."""

    content: bytes = field(repr=False)
    files: tuple[str, ...]
    source_bytes: int

    @property
    def sha256(self) -> str:
        """The archive's digest, for people who compare."""
        return hashlib.sha256(self.content).hexdigest()


def detect_provisioner_type(directory: Path) -> str:
    """ "process" if there is a warmpool.toml, "terraform" if there are *.tf files."""
    if (directory / "warmpool.toml").is_file():
        return "process"
    if any(directory.glob("*.tf")) or any(directory.glob("*.tf.json")):
        return "terraform"
    raise UsageInvalid(
        f"{directory} holds no template: neither a warmpool.toml nor a *.tf file",
        "name the directory that holds one, or give --type",
    )


def pack_template(directory: Path) -> TemplateArchive:
    """Packs a directory; raises UsageInvalid if it is none, or is too large."""
    if not directory.is_dir():
        raise UsageInvalid(f"{directory} is not a directory", "name a template's directory")
    files: list[str] = []
    source_bytes = 0
    packed = io.BytesIO()
    # mtime=0 and no name: gzip's own header must not differ either
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _walk(directory):
            name = path.relative_to(directory).as_posix()
            member = _describe(directory, path, name)
            source_bytes += member.size
            files.append(name)
            _check_source(directory, source_bytes, len(files))
            with path.open("rb") as content:
                tar.addfile(member, content)
    content = packed.getvalue()
    if len(content) > ARCHIVE_BYTES_MAX:
        raise UsageInvalid(
            f"{directory} packs to {len(content) / 2**20:.1f} MiB; "
            f"at most {ARCHIVE_BYTES_MAX // 2**20} MiB are allowed",
            "move large files out of the template and download them when it is built",
        )
    return TemplateArchive(content=content, files=tuple(files), source_bytes=source_bytes)


def _walk(directory: Path) -> Iterator[Path]:
    """Every file and link below, by name; directories follow from their files."""
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in EXCLUDED_DIRECTORIES:
                yield from _walk(path)
        elif not any(fnmatch.fnmatch(entry.name, pattern) for pattern in EXCLUDED_FILES):
            yield path


def _describe(directory: Path, path: Path, name: str) -> tarfile.TarInfo:
    """A file, or a link to one of the template's files: that is packed as what it leads to."""
    if path.is_symlink() and not path.resolve().is_relative_to(directory.resolve()):
        raise UsageInvalid(
            f"{path} is a link that leads out of the template", "replace it by what it leads to"
        )
    if path.is_symlink() and not path.is_file():
        raise UsageInvalid(
            f"{path} is a link to no file",
            "remove it, or replace it by the directory it leads to",
        )
    if not path.is_file():
        raise UsageInvalid(f"{path} is neither a file nor a link", "remove it from the template")
    found = path.stat()
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
    member.size = found.st_size
    return member


def _check_source(directory: Path, source_bytes: int, files: int) -> None:
    if files > FILES_MAX:
        raise UsageInvalid(
            f"{directory} holds more than {FILES_MAX:,} files",
            "name the template's own directory, not one above it",
        )
    if source_bytes > SOURCE_BYTES_MAX:
        raise UsageInvalid(
            f"{directory} holds more than {SOURCE_BYTES_MAX // 2**20} MiB; at most "
            f"{ARCHIVE_BYTES_MAX // 2**20} MiB are allowed when packed",
            "move large files out of the template and download them when it is built",
        )
