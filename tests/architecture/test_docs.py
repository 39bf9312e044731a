"""The documentation is true where a machine can tell: links lead somewhere, named files, tests and
commands exist, made pages are current, and every metric is listed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "build" for part in page.relative_to(ROOT).parts)
)

_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_PATH = re.compile(r"`((?:docs|examples|libs|proto|services/[a-z]+/src|tests|tools)/[\w./-]*)`")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]+)\b")
_METRIC = re.compile(r"(?:coderd|grpc_server|warmpool)_[a-z_]+")
_INSTRUMENT = re.compile(r"(counter|gauge|histogram)$")


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made where Markdown is shown."""
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")
        for heading in _HEADING.findall(_prose(page))
    }


def _broken_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in _anchors(target):
            yield f"{link}: there is no such heading"


def _names(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_names)
def test_links_and_named_files_exist(page: Path) -> None:
    broken = list(_broken_links(page))
    broken += [
        f"{path}: there is no such file"
        for path in _PATH.findall(_prose(page))
        if not (ROOT / path).exists()
    ]
    broken += [
        f"{file}::{name}: there is no such test"
        for file, name in _TEST.findall(_prose(page))
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text("utf-8")
    ]
    assert broken == []


def test_named_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    named = {
        target
        for page in PAGES
        for code in re.findall(r"`[^`\n]+`|^```.*?^```$", page.read_text("utf-8"), re.M | re.S)
        for target in _MAKE.findall(code)
    }
    assert named - targets == set()


@pytest.mark.parametrize("tool", ["settings_doc.py", "state_machines.py", "observability.py"])
def test_made_pages_are_current(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / tool), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")


def _source_names() -> Iterator[tuple[str, bool]]:
    """Metric names in the code of services and chassis; True for one that begins a longer name."""
    for source in ROOT.glob("*/*/src/**/*.py"):
        if "_pb2" in source.name or "testkit" in source.parts:
            continue
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            if not _INSTRUMENT.search(ast.unparse(node.func)):
                continue
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    yield _exported(name, node), False
                case ast.JoinedStr(values=[ast.Constant(value=str(name)), *_]):
                    yield name, True
                case _:
                    pass  # a wrapper that passes its argument on


def _exported(name: str, call: ast.Call) -> str:
    """The name as Prometheus shows it: without dots, and with its unit."""
    name = name.replace(".", "_")
    is_seconds = any(
        argument.arg == "unit" and ast.unparse(argument.value) == "'s'"
        for argument in call.keywords
    )
    return f"{name}_seconds" if is_seconds and not name.endswith("_seconds") else name


def _without_total(names: Iterable[str]) -> set[str]:
    return {name.removesuffix("_total") for name in names}


def test_every_metric_is_listed_and_every_listed_one_exists() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    listed = _without_total(re.findall(rf"^\| `({_METRIC.pattern})` \|", text, re.M))
    found = set(_source_names())
    names = _without_total(name for name, is_begun in found if not is_begun)
    beginnings = tuple(name for name, is_begun in found if is_begun)
    assert names - listed == set(), "docs/operations.md does not list these"
    assert {name for name in listed - names if not name.startswith(beginnings)} == set()
    assert [b for b in beginnings if not any(name.startswith(b) for name in listed)] == []
