"""Whether one value is of its type, one of its options, within its bounds and in its direction."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import cast

from reconciler.core.presets.pattern import PatternInvalid, is_found

__all__ = ["TYPES", "check_value", "quote"]

TYPES = ("string", "number", "bool", "list(string)")
_BOOLS = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")
_QUOTED_MAX = 200  # characters


def quote(text: str) -> str:
    """A text as messages show it: short and in quotes."""
    shown = text if len(text) <= _QUOTED_MAX else text[:_QUOTED_MAX] + "…"
    return f'"{shown}"'


def check_value(
    value: str,
    *,
    type_: str,
    options: Sequence[str],
    regex: str,
    error: str,
    minimum: int | None,
    maximum: int | None,
    monotonic: str,
    previous: str | None,
) -> Iterator[str]:
    """All that is wrong with a value, each reading on from the parameter's name. `error` is what
    the author has to say, with {min}, {max} and {value} filled in.
    """
    complaint = _check_type(type_, value)
    if complaint is not None:
        yield complaint
        return
    if options and not _is_offered(type_, value, options):
        yield f"is {quote(value)}; it must be one of {', '.join(map(quote, options))}."
    said = _fill(error, value, minimum, maximum)
    number = _number(value)
    if type_ == "number" and number is not None:
        if minimum is not None and number < minimum:
            yield f"is {value}; it must be {minimum} or more.{said}"
        if maximum is not None and number > maximum:
            yield f"is {value}; it must be {maximum} or less.{said}"
        yield from _check_direction(monotonic, value, number, previous)
    if type_ == "string" and regex:
        try:
            if not is_found(regex, value):
                yield f"is {quote(value)}; it must match {quote(regex)}.{said}"
        except PatternInvalid as problem:
            yield f"cannot be checked: its pattern {quote(regex)} {problem}."


def _check_type(type_: str, value: str) -> str | None:
    match type_:
        case "string":
            return None
        case "number":
            is_good, allowed = _number(value) is not None, "a number"
        case "bool":
            is_good, allowed = value in _BOOLS, '"true" or "false"'
        case "list(string)":
            is_good, allowed = _strings(value) is not None, 'a JSON list such as ["a", "b"]'
        case _:
            return f"has the unknown type {quote(type_)}; it must be one of {', '.join(TYPES)}."
    return None if is_good else f"is {quote(value)}; it must be {allowed}."


def _is_offered(type_: str, value: str, options: Sequence[str]) -> bool:
    """A list may be an option as a whole, or be made of options."""
    if value in options:
        return True
    return type_ == "list(string)" and all(each in options for each in _strings(value) or ())


def _check_direction(
    monotonic: str, value: str, number: float, previous: str | None
) -> Iterator[str]:
    before = None if previous is None else _number(previous)
    if before is None:
        return
    if monotonic == "increasing" and number < before:
        yield f"is {value}; it must be {previous} or more, the value before (increasing)."
    if monotonic == "decreasing" and number > before:
        yield f"is {value}; it must be {previous} or less, the value before (decreasing)."


def _fill(error: str, value: str, minimum: int | None, maximum: int | None) -> str:
    if not error:
        return ""
    filled = error.replace("{min}", str(minimum)).replace("{max}", str(maximum))
    return " " + filled.replace("{value}", value)


def _number(text: str) -> float | None:
    if text != text.strip() or "_" in text or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _strings(text: str) -> list[str] | None:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, list):
        return None
    entries = cast("list[object]", parsed)
    strings = [each for each in entries if isinstance(each, str)]
    return strings if len(strings) == len(entries) else None
