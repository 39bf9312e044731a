"""Whether a value answers a parameter: its type, options, bounds, pattern and direction; and which
form shows it.

Promises: pure; messages name the parameter, the value and what is allowed. A pattern is searched
for in the value, as upstream does, so authors anchor it themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

from provisionerd.tfprovider.checks import quote
from provisionerd.tfprovider.cty import Unknown
from provisionerd.tfprovider.pattern import PatternInvalid, compile_pattern
from provisionerd.tfprovider.schema import Object, Problem

__all__ = [
    "FORM_TYPES",
    "TYPES",
    "check_form_type",
    "check_options",
    "check_value",
    "default_form_type",
]

TYPES = ("string", "number", "bool", "list(string)")
_BOOLS = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")

# type -> (form types with options, form types without); the first of each is the default
_FORMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "string": (("radio", "dropdown"), ("input", "textarea")),
    "number": (("radio", "dropdown"), ("input", "slider")),
    "bool": (("radio",), ("checkbox", "switch")),
    "list(string)": (("radio", "multi-select"), ("tag-select",)),
}
FORM_TYPES = (
    "radio",
    "slider",
    "input",
    "dropdown",
    "checkbox",
    "switch",
    "multi-select",
    "tag-select",
    "textarea",
    "error",
)


def default_form_type(config: Object) -> str:
    """The form that shows a parameter whose author named none."""
    return _allowed_forms(config)[0]


def check_form_type(config: Object) -> Iterable[Problem]:
    """Whether a form can show values of a type."""
    form, type_ = config.get("form_type"), config.get("type") or "string"
    if not isinstance(form, str) or type_ not in _FORMS or form in ("", "error"):
        return
    if isinstance(config.get("option"), Unknown):
        return
    allowed = _allowed_forms(config)
    if form in FORM_TYPES and form not in allowed:
        options = "with" if config.get("option") else "without"
        yield Problem(
            summary="The form does not fit the type",
            detail=f"form_type is {quote(form)}; a parameter of type {type_} {options} options"
            f" allows {', '.join(map(quote, allowed))}.",
            path=("form_type",),
        )


def check_options(config: Object) -> Iterable[Problem]:
    """Whether every option is of the parameter's type. What a multi-select offers is text."""
    type_, options = config.get("type") or "string", config.get("option")
    if config.get("form_type") == "multi-select" or not isinstance(options, tuple):
        return
    for index, option in enumerate(options):
        value = option.get("value") if isinstance(option, Mapping) else None
        complaint = _check_type(str(type_), value) if isinstance(value, str) else None
        if complaint is not None:
            where = f"option.{index}.value"
            yield Problem(
                summary=f"Invalid value for {where}",
                detail=f"{where} {complaint}",
                path=("option", index, "value"),
            )


def check_value(
    config: Object, value: str, previous: str | None, *, what: str
) -> Iterable[Problem]:
    """All that is wrong with a value; `what` is "value" or "default", for the messages."""
    name = config.get("name")
    path = ("default",) if what == "default" else ()
    for complaint in _complaints(config, value, previous):
        yield Problem(
            summary=f"Invalid {what} of parameter {quote(name)}",
            detail=f"{what} {complaint}",
            path=path,
        )


def _complaints(config: Object, value: str, previous: str | None) -> Iterable[str]:
    type_ = config.get("type") or "string"
    complaint = _check_type(str(type_), value)
    if complaint is not None:
        yield complaint
        return
    yield from _check_options(config, value)
    validations = config.get("validation")
    for validation in validations if isinstance(validations, tuple) else ():
        if isinstance(validation, Mapping):
            yield from _check_validation(str(type_), validation, value, previous)


def _check_type(type_: str, value: str) -> str | None:
    match type_:
        case "number" if _number(value) is None:
            return f"is {quote(value)}; it must be a number."
        case "bool" if value not in _BOOLS:
            return f'is {quote(value)}; it must be "true" or "false".'
        case "list(string)" if _strings(value) is None:
            return f'is {quote(value)}; it must be a JSON list of strings such as ["a", "b"].'
        case _:
            return None


def _check_options(config: Object, value: str) -> Iterable[str]:
    options = config.get("option")
    if not isinstance(options, tuple) or not options:
        return
    allowed = [option.get("value") for option in options if isinstance(option, Mapping)]
    if any(isinstance(each, Unknown) for each in (*options, *allowed)):
        return
    chosen: list[str] = [value]
    if config.get("form_type") == "multi-select":
        chosen = _strings(value) or []
    for each in chosen:
        if each not in allowed:
            yield f"is {quote(each)}; it must be one of {', '.join(map(quote, allowed))}."


def _check_validation(
    type_: str, validation: Object, value: str, previous: str | None
) -> Iterable[str]:
    number = _number(value)
    if type_ == "number" and number is not None:
        low, high = validation.get("min"), validation.get("max")
        said = _authors_words(validation, value)
        if isinstance(low, int | float) and number < low:
            yield f"is {value}; it must be {low} or more.{said}"
        if isinstance(high, int | float) and number > high:
            yield f"is {value}; it must be {high} or less.{said}"
        yield from _check_direction(validation, number, previous)
    regex = validation.get("regex")
    if type_ == "string" and isinstance(regex, str) and regex:
        try:
            matched = compile_pattern(regex).search(value)
        except PatternInvalid as problem:
            yield f"cannot be checked: validation.regex {quote(regex)} {problem}."
        else:
            if not matched:
                yield (
                    f"is {quote(value)}; it must match {quote(regex)}."
                    + _authors_words(validation, value)
                )


def _authors_words(validation: Object, value: str) -> str:
    """What the author says about a refused value; {min}, {max} and {value} are filled in."""
    error = validation.get("error")
    if not isinstance(error, str) or not error:
        return ""
    for name in ("min", "max"):
        error = error.replace(f"{{{name}}}", str(validation.get(name)))
    return " " + error.replace("{value}", value)


def _check_direction(validation: Object, number: float, previous: str | None) -> Iterable[str]:
    before = None if previous is None else _number(previous)
    if before is None:
        return
    match validation.get("monotonic"):
        case "increasing" if number < before:
            yield f"is {number:g}; it must be {before:g} or more, the value before (increasing)."
        case "decreasing" if number > before:
            yield f"is {number:g}; it must be {before:g} or less, the value before (decreasing)."
        case _:
            pass


def _allowed_forms(config: Object) -> tuple[str, ...]:
    type_ = config.get("type") or "string"
    with_options, without = _FORMS.get(str(type_), _FORMS["string"])
    return with_options if config.get("option") else without


def _number(text: str) -> float | None:
    try:
        return float(text) if text == text.strip() and "_" not in text else None
    except ValueError:
        return None


def _strings(text: str) -> list[str] | None:
    try:
        parsed: object = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parsed, list):
        return None
    items = cast("list[object]", parsed)
    return (
        [each for each in items if isinstance(each, str)]
        if all(isinstance(each, str) for each in items)
        else None
    )
