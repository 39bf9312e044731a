"""Every SQL query has a caller, and every file of them is known to the loader."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Protocol

from reconciler.store.queries import QUERY_FILES, Queries, load_queries


class Module(Protocol):
    """A source file; see conftest."""

    name: str
    rooms: tuple[str, ...]
    tree: ast.Module


def test_every_file_is_listed(root: Path) -> None:
    files = (root / "services/reconciler/src/reconciler/store/sql").glob("*.sql")

    assert tuple(sorted(path.stem for path in files)) == tuple(sorted(QUERY_FILES))


def test_every_query_is_used(modules: tuple[Module, ...]) -> None:
    used = {
        use
        for module in modules
        if module.rooms[:2] == ("reconciler", "store")
        for use in find_uses(module)
    }

    declared = {(file, name) for file in QUERY_FILES for name in load_queries(file).texts}
    assert declared - used == set()
    assert used - declared == set()


def find_uses(module: Module) -> set[tuple[str, str]]:
    """(file, query) of every attribute of a file's queries, under whatever name the module has
    them.
    """
    values = vars(importlib.import_module(module.name))
    files = {load_queries(file): file for file in QUERY_FILES}
    known = {name: files[value] for name, value in values.items() if isinstance(value, Queries)}
    return {
        (known[node.value.id], node.attr)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in known
    }
