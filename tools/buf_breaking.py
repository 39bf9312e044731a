"""Refuses a change of the wire that would break a peer of the last release: `buf breaking` against
its tag.

Before the first release, and in a copy without history, there is nothing to compare with, and it
says so.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    tag = find_release()
    if tag is None:
        print("buf breaking: no release to compare with")
        return 0
    archive = run("git", "archive", tag, "proto", "buf.yaml")
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(directory, filter="data")
        buf = Path(sys.executable).parent / "buf"
        return subprocess.run([buf, "breaking", "--against", directory], cwd=ROOT).returncode


def find_release() -> str | None:
    """The newest release tag this tree descends from; None if there is none."""
    found = run("git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    return found.stdout.decode().strip() if found.returncode == 0 else None


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True)
    except FileNotFoundError:  # no git here
        return subprocess.CompletedProcess(command, 127, b"", b"")


if __name__ == "__main__":
    sys.exit(main())
