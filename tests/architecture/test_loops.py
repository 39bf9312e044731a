"""Every long-lived coroutine is started: a loop that nobody runs is a promise that nobody keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Protocol

import pytest

SERVICES = ("agentgw", "provisionerd", "reconciler")


class Module(Protocol):
    """A source file; see conftest."""

    name: str
    rooms: tuple[str, ...]
    tree: ast.Module


@pytest.mark.parametrize("service", SERVICES)
def test_every_loop_is_started(modules: tuple[Module, ...], service: str) -> None:
    own = [module for module in modules if module.rooms[0] == service]
    loops = [
        loop for module in own if module.rooms[1:2] == ("loops",) for loop in find_loops(module)
    ]

    started = find_started([module.tree for module in own], {name for name, _ in loops})

    assert loops
    assert [loop for loop in loops if loop not in started] == []


def find_loops(module: Module) -> Iterator[tuple[str, str]]:
    """(class, method) of what runs until it is cancelled, (function, "") of the same without a
    class. A loop is told everything beforehand: its `run` takes nothing.
    """
    for node in module.tree.body:
        if isinstance(node, ast.AsyncFunctionDef) and is_endless(node):
            yield node.name, ""
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if (
                    isinstance(method, ast.AsyncFunctionDef)
                    and (method.name == "run" or is_endless(method))
                    and not method.name.startswith("_")
                    and [each.arg for each in method.args.args] == ["self"]
                    and not method.args.kwonlyargs
                ):
                    yield node.name, method.name


def is_endless(function: ast.AsyncFunctionDef) -> bool:
    """Whether it holds `while True` without a way out."""
    return any(
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and not any(isinstance(inner, ast.Break | ast.Return) for inner in ast.walk(node))
        for node in ast.walk(function)
    )


def find_started(trees: Sequence[ast.Module], names: set[str]) -> set[tuple[str, str]]:
    """Which of these are started: a function that is named outside its own file's definition, or a
    class with an object whose method is.
    """
    started: set[tuple[str, str]] = set()
    makers = {name: name for name in names}
    nodes = [node for tree in trees for node in ast.walk(tree)]
    for node in nodes:
        match node:
            case ast.FunctionDef(returns=ast.Name(id=made), name=name) if made in names:
                makers[name] = made
            case _:
                pass
    holders: dict[str, set[str]] = {}
    for _ in range(2):  # an object, then what is taken out of a container of them
        for node in nodes:
            match node:
                case ast.Assign(targets=[target], value=value):
                    pass
                case ast.For(target=target, iter=value):
                    pass
                case _:
                    continue
            made = {makers[name] for name in names_in(value) if name in makers}
            made |= {each for name in names_in(value) for each in holders.get(name, ())}
            if isinstance(node, ast.Assign) and not calls_in(value) & set(makers):
                continue
            for name in names_in(target) - {"self"}:
                holders.setdefault(name, set()).update(made)
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=holder) | ast.Attribute(attr=holder), attr=attr):
                started |= {(made, attr) for made in holders.get(holder, ())}
            case ast.Name(id=name, ctx=ast.Load()) if name in names:
                started.add((name, ""))
            case _:
                pass
    return started


def names_in(tree: ast.AST) -> set[str]:
    """Every name and attribute in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


def calls_in(tree: ast.AST) -> set[str]:
    """Every plain name that is called in it."""
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_a_loop_that_is_made_and_not_started_is_found() -> None:
    source = """
class Loop:
    async def run(self): ...
class Other:
    async def run(self): ...
loop, loops = Loop(), 1
others = {1: Other()}
for other in others.values():
    start(other.run)
"""
    assert find_started([ast.parse(source)], {"Loop", "Other"}) >= {("Other", "run")}
    assert ("Loop", "run") not in find_started([ast.parse(source)], {"Loop", "Other"})
