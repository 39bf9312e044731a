"""Pages that are made from the code: written, or compared with what is committed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_or_check(pages: Mapping[Path, str], *, tool: str, check: bool) -> int:
    """Writes `pages`, or with `check` names those on disk that differ. Returns the exit code."""
    if not check:
        for path, text in pages.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in pages.items() if not _is_current(path, text)]
    for path in stale:
        print(f"not current: {path.relative_to(ROOT)} (run: {tool})", file=sys.stderr)
    return 1 if stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table. Bars in cells are escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )
