"""Checks of one value. Each returns a function that says what is wrong and what is allowed.

Messages read on from the attribute's name: `is "amd46"; it must be one of "amd64", ...`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit

from provisionerd.tfprovider.cty import Unknown, Value
from provisionerd.tfprovider.schema import Check, Object, Problem

__all__ = [
    "absolute_path",
    "at_least",
    "between",
    "conflicts",
    "duplicates",
    "is_given",
    "length_max",
    "map_values_not_empty",
    "matches",
    "not_empty",
    "one_of",
    "quote",
    "url",
    "uuid_text",
]

_QUOTED_MAX = 200


def quote(value: Value) -> str:
    """A value as messages show it: short, strings in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    shown = text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "…"
    return f'"{shown}"' if isinstance(value, str) else shown


def one_of(*allowed: str) -> Check:
    """One of some words."""
    listed = ", ".join(quote(each) for each in allowed)

    def check(value: Value) -> str | None:
        return None if value in allowed else f"is {quote(value)}; it must be one of {listed}."

    return check


def length_max(characters: int) -> Check:
    """A text that is not too long."""

    def check(value: Value) -> str | None:
        length = len(str(value))
        if length <= characters:
            return None
        return f"is {length} characters long; at most {characters} are allowed."

    return check


def at_least(minimum: int) -> Check:
    """A number with a lower bound."""

    def check(value: Value) -> str | None:
        if isinstance(value, int | float) and value >= minimum:
            return None
        return f"is {quote(value)}; it must be {minimum} or more."

    return check


def between(minimum: int, maximum: int, *also: int) -> Check:
    """A number within bounds, or one of some others."""
    others = "".join(f"{each} or " for each in also)

    def check(value: Value) -> str | None:
        if value in also or (isinstance(value, int | float) and minimum <= value <= maximum):
            return None
        return f"is {quote(value)}; it must be {others}between {minimum} and {maximum}."

    return check


def not_empty(value: Value) -> str | None:
    """A text with something in it."""
    return "is empty; a text is needed." if value == "" else None


def matches(pattern: str, meaning: str) -> Check:
    """A text of a form."""
    compiled = re.compile(pattern)

    def check(value: Value) -> str | None:
        if isinstance(value, str) and compiled.fullmatch(value):
            return None
        return f"is {quote(value)}; it must be {meaning} ({pattern})."

    return check


def url(value: Value) -> str | None:
    """A text that parses as a URL; relative ones are fine, as icons are."""
    try:
        urlsplit(str(value))
    except ValueError as error:
        return f"is {quote(value)}; it must be a URL ({error})."
    return None


def uuid_text(value: Value) -> str | None:
    """A UUID."""
    try:
        uuid.UUID(str(value))
    except ValueError:
        return f"is {quote(value)}; it must be a UUID."
    return None


def absolute_path(value: Value) -> str | None:
    """A path from a root, on whichever system."""
    text = str(value)
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return None
    return f"is {quote(value)}; it must be an absolute path."


def map_values_not_empty(value: Value) -> str | None:
    """A map none of whose values is empty."""
    if not isinstance(value, Mapping):
        return None
    empty = sorted(key for key, each in value.items() if each == "")
    if not empty:
        return None
    return f"has no value for {', '.join(map(quote, empty))}; each key needs one."


def is_given(value: Value) -> bool:
    """Whether a configuration gives a value: not null, not empty blocks, and known."""
    return not (value is None or value == () or isinstance(value, Unknown))


def conflicts(config: Object, name: str, *others: str) -> Iterable[Problem]:
    """Says which attributes cannot be given together with one."""
    if not is_given(config.get(name)):
        return
    for other in others:
        if is_given(config.get(other)):
            yield Problem(
                summary=f"{name} conflicts with {other}",
                detail=f"{name} and {other} are both set; only one of them may be.",
                path=(name,),
            )


def duplicates(config: Object, block: str, key: str) -> Iterable[Problem]:
    """Says which value of a key several blocks of one name share."""
    seen: set[Value] = set()
    items = config.get(block)
    for index, item in enumerate(items if isinstance(items, tuple) else ()):
        value = item.get(key) if isinstance(item, Mapping) else None
        if not isinstance(value, str):
            continue
        if value in seen:
            yield Problem(
                summary=f"Duplicate {block} {key}",
                detail=f"{block}.{index}.{key} is {quote(value)}, as in an earlier {block} block;"
                f" each needs its own.",
                path=(block, index, key),
            )
        seen.add(value)
