"""Finds a terraform or tofu binary."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from warmpool_cli.errors import UsageInvalid

__all__ = ["find_terraform"]

NAMES = ("terraform", "tofu")


def find_terraform(named: str, environ: Mapping[str, str]) -> Path | None:
    """The binary that is named, or the first on PATH; None if there is none.

    Raises UsageInvalid if one is named that cannot be run.
    """
    path = environ.get("PATH", "")
    if named:
        found = shutil.which(named, path=path)
        if found is None:
            raise UsageInvalid(
                f"--terraform {named} is not a program", "give the path of terraform or tofu"
            )
        return Path(found).absolute()
    found = next((f for name in NAMES if (f := shutil.which(name, path=path))), None)
    return Path(found).absolute() if found else None
