"""Reads a TOML document strictly: every key is asked for, every other key is refused.

Messages name file and key, what was found and what is allowed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Never, cast

from provisionerd.core.errors import TemplateInvalid

__all__ = ["FILE_NAME", "Check", "Table", "read_document"]

FILE_NAME = "warmpool.toml"
BYTES_MAX = 1024 * 1024
Check = Callable[[str], str | None]  # says how the value is wrong, reading on from its name


def read_document(template_dir: Path) -> Table:
    """The template's document, or TemplateInvalid."""
    path = template_dir / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        found = ", ".join(sorted(each.name for each in template_dir.iterdir())) or "nothing"
        raise TemplateInvalid(f"{FILE_NAME} is missing; the template holds {found}") from None
    if len(content) > BYTES_MAX:
        raise TemplateInvalid(f"{FILE_NAME} is {len(content)} bytes long; {BYTES_MAX} are allowed")
    try:
        return Table(tomllib.loads(content.decode()), "")
    except UnicodeDecodeError as error:
        raise TemplateInvalid(f"{FILE_NAME} is not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise TemplateInvalid(f"{FILE_NAME} is not TOML: {error}") from error


class Table:
    """One table. Ask for every key that is allowed, then call `refuse_others`."""

    def __init__(self, values: Mapping[str, object], path: str) -> None:
        self._values = values
        self._path = path
        self._asked: list[str] = []

    def where(self, key: str) -> str:
        """A key's full name, such as `agents[0].env`."""
        return f"{self._path}.{key}" if self._path else key

    def refuse(self, key: str, complaint: str) -> Never:
        """Raises TemplateInvalid about a key; `complaint` reads on from its name."""
        raise TemplateInvalid(f"{FILE_NAME}: {self.where(key)} {complaint}")

    def refuse_others(self) -> None:
        """Raises TemplateInvalid if there is a key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                allowed = ", ".join(sorted(self._asked))
                self.refuse(key, f"is not a key; allowed here are {allowed}")

    def has(self, key: str) -> bool:
        """Whether the key was given."""
        self._ask(key)
        return key in self._values

    def text(self, key: str, default: str | None = None, *checks: Check) -> str:
        """A text; without a default it must be given and not be empty."""
        value = self._find(key, default)
        if not isinstance(value, str):
            self.refuse(key, f"is {_show(value)}; it must be a text")
        if default is None and not value:
            self.refuse(key, "is empty; a text is needed")
        if key in self._values:
            self._check(key, value, checks)
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._find(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"is {_show(value)}; it must be true or false")
        return value

    def integer(
        self,
        key: str,
        default: int | None = None,
        *,
        minimum: int = 0,
        maximum: int | None = None,
        also: int | None = None,
    ) -> int:
        """A whole number within bounds, or `also`; without a default it must be given."""
        value = self._find(key, default)
        upper = f"from {minimum} to {maximum}" if maximum is not None else f"of {minimum} or more"
        allowed = f"a whole number {upper}" + (f", or {also}" if also is not None else "")
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, f"is {_show(value)}; it must be {allowed}")
        is_inside = value >= minimum and (maximum is None or value <= maximum)
        if not is_inside and value != also:
            self.refuse(key, f"is {value}; it must be {allowed}")
        return value

    def bound(self, key: str) -> int | None:
        """A whole number of any size, or None if it was not given."""
        self._ask(key)
        value = self._values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.refuse(key, f"is {_show(value)}; it must be a whole number")
        return value

    def value_text(self, key: str, default: str | None = None) -> str | None:
        """A parameter's value as text: texts, numbers, booleans and lists of texts may be given."""
        self._ask(key)
        if key not in self._values:
            return default
        return self._as_value(key, self._values[key])

    def values(self, key: str) -> dict[str, str]:
        """A table of parameter values as texts."""
        return {
            name: self._as_value(f"{key}.{name}", value)
            for name, value in self._mapping(key).items()
        }

    def texts(self, key: str) -> dict[str, str]:
        """A table of texts."""
        found: dict[str, str] = {}
        for name, value in self._mapping(key).items():
            if not isinstance(value, str):
                self.refuse(f"{key}.{name}", f"is {_show(value)}; it must be a text")
            found[name] = value
        return found

    def table(self, key: str) -> Table | None:
        """A table, or None if it was not given."""
        self._ask(key)
        if key not in self._values:
            return None
        return Table(self._mapping(key), self.where(key))

    def tables(self, key: str) -> tuple[Table, ...]:
        """An array of tables; none if it was not given."""
        self._ask(key)
        value: object = self._values.get(key, [])
        items = cast("list[object]", value) if isinstance(value, list) else None
        if items is None or not all(isinstance(item, dict) for item in items):
            shown = _show(self._values.get(key))
            self.refuse(key, f"is {shown}; it must be an array of tables ([[{key}]])")
        return tuple(
            Table(cast("Mapping[str, object]", item), f"{self.where(key)}[{index}]")
            for index, item in enumerate(items)
        )

    def refuse_repeated(self, what: str, names: Iterable[str]) -> None:
        """Raises TemplateInvalid if a name occurs twice."""
        seen: set[str] = set()
        for name in names:
            if name in seen:
                self.refuse(what, f"has {name!r} twice; each needs its own")
            seen.add(name)

    def _ask(self, key: str) -> None:
        if key not in self._asked:
            self._asked.append(key)

    def _find(self, key: str, default: object) -> object:
        self._ask(key)
        value = self._values.get(key, default)
        if value is None:
            self.refuse(key, "is missing; it must be given")
        return value

    def _mapping(self, key: str) -> Mapping[str, object]:
        self._ask(key)
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self.refuse(key, f"is {_show(value)}; it must be a table")
        return cast("Mapping[str, object]", value)

    def _check(self, key: str, value: str, checks: Iterable[Check]) -> None:
        for check in checks:
            if complaint := check(value):
                self.refuse(key, complaint.rstrip("."))

    def _as_value(self, key: str, value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        if all(isinstance(item, str) for item in items):
            return json.dumps(items)
        shown = _show(cast("object", value))
        self.refuse(key, f"is {shown}; it must be a text, a number, a boolean or a list of texts")


def _show(value: object) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 100 else shown[:100] + "…"
