"""Which programs this worker runs, and of what version, for `warmpool doctor`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from provisionerd.terraform import TerraformMissing, find_terraform
from provisionerd.wiring.settings import ProvisionerdSettings

__all__ = ["Programs"]

VERSION_SECONDS = 20.0


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
    """What the program says; "of unknown version" if it says nothing of use."""
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
        said = cast("dict[str, object]", json.loads(answer))
        return f"{said['terraform_version']} ({binary.name})"
    except (TimeoutError, ValueError, KeyError):
        return "of unknown version"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
