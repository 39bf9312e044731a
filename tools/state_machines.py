"""Draws every state machine of the code into docs/state-machines/; `--check` fails if a page is not
current.

A machine is a module with `TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]]`; whoever adds
one gets a page without being asked. The page is the module's own prose, a picture, and the table.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from generated import ROOT, table, write_or_check

FOLDER = ROOT / "docs" / "state-machines"
TOOL = ".venv/bin/python tools/state_machines.py"
_MACHINE = re.compile(r"^TRANSITIONS: Final\[Mapping\[(\w+), Mapping\[(\w+), \1\]\]\]", re.M)


@dataclass(frozen=True)
class Machine:
    """One table and where it stands."""

    source: Path
    prose: str
    states: tuple[Enum, ...]
    events: tuple[Enum, ...]
    transitions: Mapping[Enum, Mapping[Enum, Enum]]

    @property
    def package(self) -> str:
        return self.source.relative_to(ROOT).parts[1]

    @property
    def page(self) -> Path:
        return FOLDER / f"{self.package}-{self.source.stem.replace('_', '-')}.md"

    @property
    def title(self) -> str:
        return f"{self.package}: {self.source.stem.replace('_', ' ')}"

    def is_final(self, state: Enum) -> bool:
        return all(target is state for target in self.transitions[state].values())


def find_machines() -> list[Machine]:
    """Every machine under libs/ and services/, by path."""
    found: list[Machine] = []
    for source in sorted(ROOT.glob("*/*/src/**/*.py")):
        if not (declared := _MACHINE.search(source.read_text(encoding="utf-8"))):
            continue
        parts = source.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts[3:]))
        found.append(
            Machine(
                source=source,
                prose=inspect.cleandoc(module.__doc__ or ""),
                states=tuple(getattr(module, declared[1])),
                events=tuple(getattr(module, declared[2])),
                transitions=module.TRANSITIONS,
            )
        )
    return found


def draw(machine: Machine) -> str:
    """The page of one machine."""
    source = machine.source.relative_to(ROOT).as_posix()
    rows = [
        (
            f"**{_name(state)}**",
            *(_cell(machine, state, event) for event in machine.events),
        )
        for state in machine.states
    ]
    return "\n".join(
        [
            f"# {machine.title}",
            "",
            f"Made from [`{source}`](../../{source}) by `{TOOL}`; change the table there.",
            "",
            machine.prose,
            "",
            "```mermaid",
            *_picture(machine),
            "```",
            "",
            "Events that change nothing are in the table alone. An empty cell is a programmer's",
            "error and raises.",
            "",
            table(("", *map(_name, machine.events)), rows),
        ]
    )


def _picture(machine: Machine) -> list[str]:
    lines = ["stateDiagram-v2", f"    [*] --> {_name(machine.states[0])}"]
    for state in machine.states:
        labels: dict[Enum, list[str]] = {}
        for event, target in machine.transitions[state].items():
            if target is not state:
                labels.setdefault(target, []).append(_name(event))
        lines += [
            f"    {_name(state)} --> {_name(target)}: {' / '.join(names)}"
            for target, names in labels.items()
        ]
        if machine.is_final(state):
            lines.append(f"    {_name(state)} --> [*]")
    return lines


def _cell(machine: Machine, state: Enum, event: Enum) -> str:
    target = machine.transitions[state].get(event)
    if target is None:
        return ""
    return "stays" if target is state else _name(target)


def _name(member: Enum) -> str:
    return member.name.lower()


def draw_index(machines: list[Machine]) -> str:
    """The page that lists the others."""
    rows = [
        (f"[{machine.title}]({machine.page.name})", machine.prose.split("\n\n")[0])
        for machine in machines
    ]
    return "\n".join(
        [
            "# State machines",
            "",
            f"Made from the tables in the code by `{TOOL}`.",
            "",
            table(("machine", "about"), [(a, " ".join(b.split())) for a, b in rows]),
        ]
    )


def main() -> int:
    machines = find_machines()
    pages = {machine.page: draw(machine) for machine in machines}
    pages[FOLDER / "README.md"] = draw_index(machines)
    return write_or_check(pages, tool=TOOL, check=sys.argv[1:] == ["--check"])


if __name__ == "__main__":
    sys.exit(main())
