"""Named queries from the `.sql` files beside this module. No SQL lives in Python.

A query begins with `-- name: its_name`; the comment lines after it say what it is for and what its
parameters are.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["QUERY_FILES", "Queries", "load_queries"]

QUERY_FILES = (
    "builds",
    "checks",
    "claims",
    "credentials",
    "gateway",
    "identity",
    "inbox",
    "jobs",
    "lifecycle",
    "locks",
    "manifests",
    "metrics",
    "migrations",
    "notifications",
    "outbox",
    "people",
    "pools",
    "retention",
    "system",
    "templates",
    "workspaces",
)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


class Queries:
    """The queries of one file, as attributes."""

    def __init__(self, file: str, texts: dict[str, str]) -> None:
        self._file = file
        self.texts = texts

    def __getattr__(self, name: str) -> str:
        try:
            return self.texts[name]
        except KeyError:
            raise AttributeError(f"{self._file}.sql has no query named {name}") from None


@cache
def load_queries(file: str) -> Queries:
    """Reads `sql/<file>.sql`."""
    text = (resources.files("reconciler.store") / "sql" / f"{file}.sql").read_text()
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}.sql names a query twice")
    return Queries(file, dict(zip(names, (body.strip() for body in bodies), strict=True)))
