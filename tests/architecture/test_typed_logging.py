"""Wrong logging does not pass the type checker.

`rejected/` holds files whose marked lines must each be refused, by the rules that the mark names. A
line that becomes acceptable, and one that becomes refused, both fail this test.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_REJECTED = Path(__file__).parent / "rejected"
_MARK = re.compile(r"# refused: ([\w, ]+)$")
_ANNOTATED = sorted(_REJECTED.glob("*.py"))


def _marked(file: Path) -> set[tuple[str, int, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return {
        (file.name, number, rule)
        for number, line in enumerate(lines, start=1)
        if (mark := _MARK.search(line))
        for rule in mark[1].split(", ")
    }


@pytest.fixture(scope="module")
def refused() -> set[tuple[str, int, str]]:
    """What pyright says about every file, in one run: starting it is what takes time."""
    command = [
        *(sys.executable, "-m", "pyright", "--outputjson"),
        *("--project", str(_REJECTED), "--pythonpath", sys.executable),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 1, run.stderr or run.stdout
    report = json.loads(run.stdout)
    return {
        (
            Path(diagnostic["file"]).name,
            diagnostic["range"]["start"]["line"] + 1,
            diagnostic.get("rule", ""),
        )
        for diagnostic in report["generalDiagnostics"]
    }


def test_there_is_something_to_refuse() -> None:
    assert [file.name for file in _ANNOTATED] == ["typed_logging.py"]
    assert all(_marked(file) for file in _ANNOTATED)


def test_the_type_checker_refuses_the_marked_lines_and_no_others(
    refused: set[tuple[str, int, str]],
) -> None:
    assert refused == {mark for file in _ANNOTATED for mark in _marked(file)}
