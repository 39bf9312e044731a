"""Why an embedded server or a child service could not be run.

EmbeddedError              the base; its message names the cause and what to do about it
├── DirectoryInUse         another process holds the directory; it says which
├── StartFailed            the process ended, or was not ready in time; it quotes the log's end
└── Unsupported            this machine cannot run it, and why
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["DirectoryInUse", "EmbeddedError", "StartFailed", "Unsupported"]

LOG_TAIL_BYTES = 2_000  # about 20 lines: enough for the cause, short enough to read


class EmbeddedError(Exception):
    """Something embedded could not be run."""


class DirectoryInUse(EmbeddedError):
    """Another process holds the directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{directory} is in use by {holder}; stop it or choose another directory")
        self.directory = directory
        self.pid = pid


class StartFailed(EmbeddedError):
    """A process ended before it was ready, or was not ready in time."""

    def __init__(self, name: str, why: str, log_path: Path | None = None) -> None:
        tail = read_tail(log_path)
        super().__init__(f"{name} {why}" + (f"; the end of {log_path}:\n{tail}" if tail else ""))
        self.name = name
        self.why = why


class Unsupported(EmbeddedError):
    """This machine cannot run it."""


def read_tail(path: Path | None) -> str:
    """The last lines of a log file; empty if there is none."""
    if path is None or not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip()
