"""`warmpool` as a subprocess, in a directory and as a user of a test's choosing."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded import INSTANCE_VARIABLE

__all__ = ["Command", "Ran", "find_processes"]

_CONNECTION = ("ADDRESS", "TOKEN", "TOKEN_FILE", "CA_FILE")
_LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Command:
    """The command, started in `directory` by the user of that number, who must own it."""

    directory: Path
    user: int

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Starts it; standard output and error are pipes."""
        ours = {f"WARMPOOL_{name}" for name in _CONNECTION}
        env = {name: value for name, value in os.environ.items() if name not in ours}
        return await asyncio.create_subprocess_exec(
            *self._become(),
            *(sys.executable, "-P", "-m", "warmpool_cli", *arguments),
            cwd=self.directory,
            env={**env, "HOME": str(self.directory)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
        )

    def _become(self) -> list[str]:
        """What makes a command run as the user. An interpreter that is kept where only its owner
        may look takes one capability, which is to look; it is no right to write anywhere.
        """
        if self.user == os.geteuid():
            return []
        become = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        if not _is_open_to_all(Path(sys.executable)) or not _is_open_to_all(Path(__file__)):
            become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return become

    async def run(self, *arguments: str) -> Ran:
        """Runs it to its end."""
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    def files(self) -> list[str]:
        """What is in the directory."""
        return sorted(os.listdir(self.directory))

    def processes(self) -> dict[int, str]:
        """Every process of a system below the directory, with its command line."""
        return find_processes(self.directory)


def find_processes(directory: Path) -> dict[int, str]:
    """Those that carry an instance of a system below the directory, or work below it, wherever
    they have gone.
    """
    found: dict[int, str] = {}
    inside = os.fsencode(directory) + b"/"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
            cwd = os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is the kernel's
        is_instance = f"{INSTANCE_VARIABLE}=".encode() in environ and inside in environ
        if is_instance or inside in command or cwd.startswith(inside):
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
