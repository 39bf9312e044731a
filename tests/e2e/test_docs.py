"""The examples of the documentation run as they stand, one page after the other."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from testkit.eventually import eventually
from testkit.system import RunningSystem
from warmpool_cli.main import run

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = ("cli.md", "notifications.md")
"""Whose examples run, in this order: a later one may use what an earlier one made."""
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def test_every_example_is_marked_as_one_that_runs() -> None:
    unmarked = [
        f"{page.name}: {line}"
        for page in sorted(DOCS.glob("*.md"))
        for language, block in _BLOCK.findall(page.read_text("utf-8"))
        for line in block.splitlines()
        if line.startswith("warmpool ") and (language != "sh" or page.name not in PAGES)
    ]
    assert unmarked == []


def examples(page: str) -> Iterator[list[str]]:
    """The command lines of a page, without "warmpool"."""
    for language, block in _BLOCK.findall((DOCS / page).read_text("utf-8")):
        if language == "sh":
            for line in block.splitlines():
                command, *arguments = shlex.split(line)
                assert command == "warmpool", line
                yield arguments


@pytest.mark.asyncio(loop_scope="session")
async def test_the_documented_examples_run_as_they_stand(
    running_system: RunningSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples" / "process", tmp_path / "examples" / "process")
    for name in ("TOKEN", "CA_FILE"):
        monkeypatch.delenv(f"WARMPOOL_{name}", raising=False)
    monkeypatch.setenv("WARMPOOL_ADDRESS", running_system.settings.address)
    monkeypatch.setenv("WARMPOOL_TOKEN_FILE", str(running_system.layout.owner_token_file))
    monkeypatch.chdir(tmp_path)
    groups: set[str] = set()
    for page in PAGES:
        for arguments in examples(page):
            out, err = io.StringIO(), io.StringIO()
            began = time.monotonic()
            with redirect_stdout(out), redirect_stderr(err):
                code = await run(arguments)
            print(f"{time.monotonic() - began:6.2f} s  warmpool {shlex.join(arguments)}")
            assert (arguments, code, err.getvalue()) == (arguments, 0, "")
            groups.add(arguments[0])
            if arguments[:2] == ["template", "push"]:
                await eventually(lambda: running_system.wait_warm("dev"), seconds=30)
    assert groups >= {"template", "pool", "schedule", "create", "user", "inbox", "notification"}
