"""The directories of jobs: one per attempt, readable by nobody else, gone when it ends.

Layout: `jobs/<job id>-<attempt>/work` is the provisioner's; beside it `tfstate.unsent` is the
newest tfstate the control plane has not acknowledged. A process that was ended by force leaves
its directories; the next one lists them, rescues what was not sent, and wipes them. What the
control plane refuses for good, or takes no more because the attempt is over, is set aside in
`refused` next to `jobs`. A lock file keeps two processes out of one directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from provisionerd.core.jobs import JobRef

__all__ = ["DataDirInUse", "JobDir", "JobDirs"]

_UNSENT = "tfstate.unsent"


class DataDirInUse(Exception):
    """Another process works in the directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} is in use by another provisionerd; give each its own data directory"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDir:
    """The directory of one attempt."""

    ref: JobRef
    root: Path

    @property
    def work_dir(self) -> Path:
        """What the provisioner gets."""
        return self.root / "work"

    def write_unsent(self, tfstate: bytes) -> None:
        """Keeps a tfstate until the control plane has it; whole or not at all."""
        partial = self.root / f"{_UNSENT}.partial"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(tfstate)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.root / _UNSENT)

    def read_unsent(self) -> bytes | None:
        """What was kept and not sent."""
        try:
            return (self.root / _UNSENT).read_bytes()
        except FileNotFoundError:
            return None

    def set_aside(self) -> Path | None:
        """Moves what was kept and will never be taken to `refused`, for a person to find."""
        aside = self.root.parent.parent / "refused" / f"{self.ref.directory_name}.tfstate"
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            return (self.root / _UNSENT).replace(aside)
        except FileNotFoundError:
            return None

    def clear_unsent(self) -> None:
        """The control plane has it."""
        (self.root / _UNSENT).unlink(missing_ok=True)


class JobDirs:
    """All of them, under one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def lock(self) -> Generator[None]:
        """Holds the directory for this process, or raises DataDirInUse. It ends with the process,
        however that ends.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        with (self._directory / ".lock").open("w", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataDirInUse(self._directory) from None
            yield

    def make(self, ref: JobRef) -> JobDir:
        """An empty directory for an attempt."""
        job_dir = JobDir(ref=ref, root=self._directory / ref.directory_name)
        _remove_tree(job_dir.root)
        job_dir.root.mkdir(parents=True, mode=0o700)
        job_dir.work_dir.mkdir(mode=0o700)
        return job_dir

    def remove(self, job_dir: JobDir) -> None:
        """Wipes an attempt's directory; what cannot be removed stays for the next start."""
        _remove_tree(job_dir.root)

    def list_leftovers(self) -> tuple[JobDir, ...]:
        """What an earlier process left. Whatever is not an attempt's directory is wiped."""
        if not self._directory.exists():
            return ()
        found: list[JobDir] = []
        for path in sorted(self._directory.iterdir()):
            if path.name == ".lock":
                continue
            ref = _parse_name(path.name)
            if ref is None:
                _remove_tree(path)
            else:
                found.append(JobDir(ref=ref, root=path))
        return tuple(found)


def _parse_name(name: str) -> JobRef | None:
    head, _, attempt = name.rpartition("-")
    try:
        return JobRef(job_id=uuid.UUID(head), attempt=int(attempt))
    except ValueError:
        return None


def _remove_tree(path: Path) -> None:
    def open_up(function: Callable[..., object], name: str, _: object) -> None:
        # downloaded modules may be read-only: their directory must be opened before it is emptied
        with suppress(OSError):
            Path(name).parent.chmod(stat.S_IRWXU)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(stat.S_IRWXU)
                shutil.rmtree(name, ignore_errors=True)
            else:
                function(name)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, onerror=open_up)
