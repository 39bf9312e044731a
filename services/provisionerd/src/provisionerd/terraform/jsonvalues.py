"""Reads untyped JSON with types: a value of another shape counts as absent.

Terraform's output is read leniently, because a newer version may add or change what we do not need;
what we do need is checked by whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

__all__ = [
    "boolean",
    "first",
    "integer",
    "mapping",
    "mappings",
    "number",
    "sequence",
    "text",
    "texts",
]


def mapping(value: object) -> Mapping[str, object]:
    """The object, or an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    """The array, or an empty one."""
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def mappings(value: object) -> tuple[Mapping[str, object], ...]:
    """The objects in an array; a block that is written as one object counts as one."""
    if isinstance(value, list):
        return tuple(mapping(element) for element in sequence(cast("object", value)))
    return (mapping(value),) if value else ()


def first(value: object) -> Mapping[str, object]:
    """The only block of a list that holds at most one, or an empty object."""
    return next(iter(mappings(value)), mapping(None))


def text(value: object) -> str:
    """The string, or an empty one."""
    return value if isinstance(value, str) else ""


def boolean(value: object) -> bool:
    """The boolean, or false."""
    return value if isinstance(value, bool) else False


def number(value: object) -> int | float | None:
    """The number, or None."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def integer(value: object) -> int | None:
    """The whole number, or None."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def texts(value: object) -> dict[str, str]:
    """The string entries of an object; null entries are left out."""
    return {key: entry for key, entry in mapping(value).items() if isinstance(entry, str)}
