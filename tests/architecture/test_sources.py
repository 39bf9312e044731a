"""What holds for every source file: cores wait for nothing, files stay small, names exist."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

SHIPPED_LINES_MAX = 400
LINES_MAX = 500
"""Of tests and tools. Aim at 300 everywhere."""
LONG: Final[Mapping[str, str]] = {
    "services/reconciler/src/reconciler/store/schema.sql": "all of the schema on one page",
    "tests/integration/terraform/test_builds.py": "one story of one workspace after the other",
}
"""Files that are longer all the same, with the reason."""


class Module(Protocol):
    """A source file; see conftest."""

    path: Path
    name: str
    rooms: tuple[str, ...]
    text: str
    tree: ast.Module


def test_nothing_in_a_core_is_asynchronous(modules: tuple[Module, ...]) -> None:
    """A core may say what others have to provide, and that is a Protocol."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules
        if module.rooms[1:2] == ("core",)
        for statement in module.tree.body
        if not is_protocol(statement)
        for node in ast.walk(statement)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]

    assert found == []


def is_protocol(statement: ast.stmt) -> bool:
    """Whether it is the class of one."""
    return isinstance(statement, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Protocol" for base in statement.bases
    )


def test_files_stay_small(modules: tuple[Module, ...], root: Path) -> None:
    written = [path for kind in ("tests", "tools") for path in (root / kind).rglob("*.py")]
    written += [module.path for module in modules]
    written += root.glob("services/*/src/**/*.sql")
    lengths = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in written
    }

    limits = {
        name: SHIPPED_LINES_MAX if name.startswith(("libs/", "services/")) else LINES_MAX
        for name in lengths
    }
    assert {name for name in lengths if lengths[name] > limits[name]} == set(LONG)


def test_every_module_names_what_it_offers(modules: tuple[Module, ...]) -> None:
    """What `__all__` names is there, once, and a module that defines something says what of it is
    for others.
    """
    wrong: list[str] = []
    for module in modules:
        if module.name.endswith("__main__"):
            continue
        loaded: Any = importlib.import_module(module.name)
        names: list[str] | None = getattr(loaded, "__all__", None)
        if names is None:
            wrong += [f"{module.name} has no __all__"] if is_for_others(module) else []
            continue
        wrong += [f"{module.name}.{name} is missing" for name in names if not hasattr(loaded, name)]
        wrong += [f"{module.name}.__all__ repeats itself"] if len(set(names)) < len(names) else []

    assert wrong == []


def is_for_others(module: Module) -> bool:
    """Whether others could use something of it; what is run as a file is for nobody."""
    return '__name__ == "__main__"' not in module.text and any(
        not node.name.startswith("_")
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def test_every_member_has_the_same_shape(members: tuple[Path, ...]) -> None:
    incomplete: list[str] = []
    for member in members:
        (package,) = (path for path in (member / "src").iterdir() if (path.suffix != ".egg-info"))
        project: Any = tomllib.loads((member / "pyproject.toml").read_text())["project"]
        incomplete += [
            f"{member.name} has no {what}"
            for what, is_there in {
                "README.md with a title": (member / "README.md").read_text().startswith("# "),
                "description": bool(project["description"]),
                "license": project["license"] == "Apache-2.0",
                "py.typed": any(package.rglob("py.typed")),
                "docstring of its package": has_docstring(package),
            }.items()
            if not is_there
        ]

    assert len(members) == 10
    assert incomplete == []


def has_docstring(package: Path) -> bool:
    """Whether the package says what it is; a namespace cannot."""
    init = package / "__init__.py"
    return not init.exists() or ast.get_docstring(ast.parse(init.read_text())) is not None
