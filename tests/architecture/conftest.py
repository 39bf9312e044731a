"""The sources, read once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Module:
    """One Python file that is written by hand."""

    path: Path

    @property
    def name(self) -> str:
        """As it is imported, `reconciler.core.jobs`."""
        parts = self.path.with_suffix("").parts
        dotted = parts[parts.index("src") + 1 :]
        return ".".join(dotted[:-1] if dotted[-1] == "__init__" else dotted)

    @property
    def rooms(self) -> tuple[str, ...]:
        """The package, the room in it, and so on."""
        return tuple(self.name.split("."))

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The source, parsed."""
        return ast.parse(self.text)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def members() -> tuple[Path, ...]:
    """The installable members: libraries, then services."""
    return tuple(
        sorted(path.parent for kind in ("libs", "services") for path in ROOT.glob(f"{kind}/*/src"))
    )


@pytest.fixture(scope="session")
def modules(members: tuple[Path, ...]) -> tuple[Module, ...]:
    """Every module of every member, generated ones left out."""
    return tuple(
        Module(path)
        for member in members
        for path in sorted((member / "src").rglob("*.py"))
        if not is_generated(path)
    )


def is_generated(path: Path) -> bool:
    """Whether `make gen` writes it."""
    return "_pb2" in path.name or "warmpool" in path.parts
