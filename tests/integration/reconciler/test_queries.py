"""Every named query is one Postgres accepts, says what its parameters are, and is used."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

import reconciler.store
from reconciler.store.queries import QUERY_FILES, load_queries

pytestmark = pytest.mark.integration

STORE = Path(reconciler.store.__file__).parent
NAMES = [(file, name) for file in QUERY_FILES for name in load_queries(file).texts]


async def test_every_query_can_be_prepared_and_documents_each_parameter(migrated_url: str) -> None:
    problems: list[str] = []
    connection = await asyncpg.connect(migrated_url)
    try:
        for file, name in NAMES:
            text = load_queries(file).texts[name]
            try:
                prepared = await connection.prepare(text)
            except asyncpg.PostgresError as error:
                problems.append(f"{file}.sql {name}: {error}")
                continue
            comment = "\n".join(line for line in text.splitlines() if line.startswith("--"))
            documented = {int(number) for number in re.findall(r"\$(\d+)", comment)}
            expected = set(range(1, len(prepared.get_parameters()) + 1))
            if documented != expected:
                problems.append(f"{file}.sql {name}: documents {documented}, takes {expected}")
            if not re.match(r"-- [A-Z]", comment):
                problems.append(f"{file}.sql {name}: no sentence says what it is for")
    finally:
        await connection.close()
    assert problems == []


def test_every_query_is_used_and_none_is_named_twice() -> None:
    code = "\n".join(path.read_text() for path in STORE.glob("*.py"))
    attributes = set(re.findall(r"\b[A-Z]+\.([a-z]\w+)\b", code))
    assert [f"{file}.sql {name}" for file, name in NAMES if name not in attributes] == []
    names = [name for _, name in NAMES]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_file_of_queries_is_known() -> None:
    assert sorted(path.stem for path in (STORE / "sql").glob("*.sql")) == sorted(QUERY_FILES)


def test_a_query_nobody_wrote_is_an_error_that_names_the_file() -> None:
    with pytest.raises(AttributeError, match=r"jobs\.sql has no query named take_a_break"):
        _ = load_queries("jobs").take_a_break
