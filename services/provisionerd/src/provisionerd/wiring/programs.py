"""Which programs this worker runs, and of what version, for `warmpool doctor`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from provisionerd.terraform import TerraformMissing, find_terraform
from provisionerd.wiring.settings import ProvisionerdSettings

__all__ = ["Programs"]

VERSION_SECONDS = 20.0
UNKNOWN = "of unknown version"


class Programs:
    """Asks each program once for as long as its file is the same."""

    def __init__(self, settings: ProvisionerdSettings) -> None:
        self._settings = settings
        self._seen: tuple[Path, int] | None = None
        self._version = ""

    async def find(self) -> Mapping[str, str]:
        """The version by name; an empty one for what should be there and is not."""
        if "terraform" not in self._settings.provisioners:
            return {}
        try:
            binary = find_terraform(self._settings.terraform_path)
            seen = (binary, binary.stat().st_mtime_ns)
        except (TerraformMissing, OSError):
            return {"terraform": ""}
        if seen != self._seen:
            self._version = await _ask_version(binary)
            self._seen = seen
        return {"terraform": self._version}


async def _ask_version(binary: Path) -> str:
    """What the program says; "of unknown version" if it cannot be run, as in the moment in which it
    is replaced, or says nothing of use.
    """
    try:
        return await _run(binary)
    except (OSError, TimeoutError, ValueError, KeyError):
        return UNKNOWN


async def _run(binary: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        binary,
        "version",
        "-json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},  # asks nobody, and leaves no file
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            answer, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    said: object = json.loads(answer)
    if not isinstance(said, dict):
        raise ValueError("it says no JSON object")  # noqa: TRY004 -- it is what was said
    return f"{said['terraform_version']} ({binary.name})"
