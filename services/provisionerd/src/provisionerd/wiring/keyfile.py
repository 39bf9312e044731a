"""The worker's key, in a file that may be exchanged while the worker runs."""

from __future__ import annotations

from pathlib import Path

from svckit.errors import StartFailed
from svckit.log import get_logger

__all__ = ["KeyFile"]

_LOG = get_logger(__name__)


class KeyFile:
    """Gives the key of each call. A file that cannot be read later leaves the last key in use."""

    def __init__(self, path: Path) -> None:
        """Reads the key; raises StartFailed if there is none."""
        self._path = path
        self._read_at: int | None = None
        try:
            self._key = self._read()
        except OSError as error:
            raise StartFailed(f"cannot read the key file {path}: {error.strerror}") from error
        if not self._key:
            raise StartFailed(f"the key file {path} is empty; it must hold this worker's key")

    def __call__(self) -> str:
        """The key as it is now."""
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._key = self._read() or self._key
        except OSError as error:
            _LOG.warning(
                "the key file cannot be read; the last key stays in use",
                action="key",
                path=str(self._path),
                error=error,
            )
        return self._key

    def _read(self) -> str:
        self._read_at = self._path.stat().st_mtime_ns
        return self._path.read_text(encoding="utf-8").strip()
