"""Private files, free ports, and the lock that keeps a directory to one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from pathlib import Path

from embedded.errors import DirectoryInUse, EmbeddedError

__all__ = [
    "DirectoryLock",
    "find_free_port",
    "make_directory",
    "read_or_make_secret",
    "sync_directory",
    "write_private",
]

LOOPBACK = "127.0.0.1"


def make_directory(directory: Path, mode: int = 0o700) -> None:
    """Makes a directory and those above it, or raises EmbeddedError saying why not."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from error


def sync_directory(directory: Path) -> None:
    """Returns when the names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Writes a 0600 file so that a reader sees all of it or none of it, a power cut included."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def read_or_make_secret(path: Path) -> str:
    """The secret in a file; a new one of 256 bits if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    secret = secrets.token_urlsafe(32)
    write_private(path, secret + "\n")
    return secret


def find_free_port() -> int:
    """A loopback port nobody listens on now; who binds it later must expect to have lost it."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


class DirectoryLock:
    """Keeps a directory to one process; the kernel frees it when that ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, or raises DirectoryInUse naming who has it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self._path.parent, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).strip()
            os.close(descriptor)
            pid = int(holder) if holder.isdigit() else None
            raise DirectoryInUse(self._path.parent, pid) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock back; doing it twice is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _unusable(directory: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(
        f"{directory} cannot be used: {error.strerror}; choose a directory you may write to"
    )
