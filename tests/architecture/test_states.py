"""State machines are tables, and tables are complete."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Protocol, cast


class Module(Protocol):
    """A source file; see conftest."""

    name: str
    rooms: tuple[str, ...]


SERVICES = ("agentgw", "provisionerd", "reconciler")
Table = Mapping[Enum, Mapping[Enum, Enum]]


def find_core_values(modules: tuple[Module, ...]) -> Iterator[tuple[str, object]]:
    """What the modules of the services' cores hold, with its name."""
    for module in modules:
        if module.rooms[1:2] == ("core",):
            yield from vars(importlib.import_module(module.name)).items()


def find_tables(modules: tuple[Module, ...]) -> dict[type[Enum], Table]:
    """The transition tables of the services' cores, by what they are tables of."""
    tables: dict[type[Enum], Table] = {}
    for name, value in find_core_values(modules):
        if name == "TRANSITIONS":
            table = cast("Table", value)
            tables[type(next(iter(table)))] = table
    return tables


def test_every_state_has_a_row_and_every_event_a_place(modules: tuple[Module, ...]) -> None:
    tables = find_tables(modules)

    assert sorted(states.__name__ for states in tables) == ["JobStatus", "SessionState"]
    for states, table in tables.items():
        assert set(table) == set(states)
        events = {event for row in table.values() for event in row}
        assert events == set(type(next(iter(events))))
        reached = {state for row in table.values() for state in row.values()}
        beginning = next(iter(states))
        assert reached | {beginning} == set(states)


def test_every_enum_of_states_has_a_table(modules: tuple[Module, ...]) -> None:
    states = {
        value
        for _, value in find_core_values(modules)
        if isinstance(value, type)
        and issubclass(value, Enum)
        and value.__name__.endswith(("State", "Status"))
    }

    assert states == set(find_tables(modules))


def test_a_table_of_an_enums_members_has_them_all(modules: tuple[Module, ...]) -> None:
    """What is looked up for a member, such as its number on the wire, is there for each."""
    partial = {
        f"{module.name}.{name}": sorted(member.name for member in set(kind) - set(table))
        for module in modules
        if module.rooms[0] in SERVICES and "__main__" not in module.rooms
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, Mapping)
        for table in [cast("Mapping[object, object]", value)]
        if (kind := find_key_enum(table))
    }

    assert partial
    assert {name: missing for name, missing in partial.items() if missing} == {}


def find_key_enum(table: Mapping[object, object]) -> type[Enum] | None:
    """The enum of ours whose members alone are the table's keys, if so."""
    kinds = {type(key) for key in table}
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    return kind if issubclass(kind, Enum) and kind.__module__.split(".")[0] in SERVICES else None
