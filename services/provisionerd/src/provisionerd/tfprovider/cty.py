"""Terraform's values and types, and their msgpack form on the wire.

Promises: pure; `decode(t, encode(t, v))` is `v` for every value that conforms to `t`; what does not
conform is refused with a path, never guessed. An unknown value, refined or not, is `UNKNOWN`.

Values are None (null), UNKNOWN, bool, str, int, float, tuples (lists and sets) and mappings (maps
and objects; an object holds every attribute of its type).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, cast

__all__ = [
    "UNKNOWN",
    "ListOf",
    "MapOf",
    "NotConforming",
    "ObjectOf",
    "Scalar",
    "SetOf",
    "Type",
    "Unknown",
    "Value",
    "conform",
    "decode",
    "encode",
    "encode_type",
    "is_wholly_known",
]


class Unknown(Enum):
    """The type of `UNKNOWN`: a value that exists only after an apply."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN

Value: TypeAlias = (
    "Unknown | bool | str | int | float | tuple[Value, ...] | Mapping[str, Value] | None"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number or bool."""

    name: Literal["string", "number", "bool"]


@dataclass(frozen=True, slots=True)
class ListOf:
    """An ordered collection."""

    element: Type


@dataclass(frozen=True, slots=True)
class SetOf:
    """A collection without order."""

    element: Type


@dataclass(frozen=True, slots=True)
class MapOf:
    """Text keys to values of one type."""

    element: Type


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """Named attributes, each with its type."""

    attributes: Mapping[str, Type]


Type: TypeAlias = "Scalar | ListOf | SetOf | MapOf | ObjectOf"

_EXT_UNKNOWN = 0
_EXT_REFINED_UNKNOWN = 12
_MSGPACK: Any = importlib.import_module("msgpack")  # ships no types
_UNKNOWN_ON_WIRE = _MSGPACK.ExtType(_EXT_UNKNOWN, b"\0")


class NotConforming(ValueError):
    """A value does not have the type its place asks for; the message names the place."""


def decode(type_: Type, packed: bytes) -> Value:
    """Reads a msgpack value of a type."""
    try:
        raw: object = _MSGPACK.unpackb(
            packed,
            raw=False,
            strict_map_key=True,
            ext_hook=_read_ext,
        )
    except ValueError as error:
        raise NotConforming(f"not a msgpack value: {error}") from error
    return conform(type_, raw, missing_is_null=False)


def encode(type_: Type, value: Value) -> bytes:
    """Writes a value of a type as msgpack."""
    conforming = conform(type_, value, missing_is_null=False)
    packed = _MSGPACK.packb(conforming, use_bin_type=True, default=_write_unknown)
    return cast("bytes", packed)


def encode_type(type_: Type) -> bytes:
    """A type as the JSON that schemas carry."""
    return json.dumps(_describe(type_), separators=(",", ":")).encode()


def is_wholly_known(value: Value) -> bool:
    """Whether nothing in a value is left for later."""
    match value:
        case Unknown():
            return False
        case tuple():
            return all(is_wholly_known(each) for each in value)
        case Mapping():
            return all(is_wholly_known(each) for each in value.values())
        case _:
            return True


def conform(type_: Type, raw: object, *, missing_is_null: bool, path: str = "value") -> Value:
    """Turns decoded msgpack or JSON into a value of a type.

    With `missing_is_null`, absent attributes become null and unknown ones are dropped: how a
    tfstate of another version is read. Without it both are errors.
    """
    if raw is None or raw is UNKNOWN:
        return raw
    match type_:
        case Scalar():
            return _conform_scalar(type_, raw, path)
        case ListOf(element) | SetOf(element):
            if not isinstance(raw, list | tuple):
                raise NotConforming(f"{path}: a list is needed, got {type(raw).__name__}")
            return tuple(
                conform(element, each, missing_is_null=missing_is_null, path=f"{path}[{index}]")
                for index, each in enumerate(cast("list[object]", raw))
            )
        case MapOf(element):
            return {
                key: conform(element, each, missing_is_null=missing_is_null, path=f"{path}.{key}")
                for key, each in _read_mapping(raw, path).items()
            }
        case ObjectOf(attributes):
            return _conform_object(attributes, raw, missing_is_null, path)


def _conform_object(
    attributes: Mapping[str, Type], raw: object, missing_is_null: bool, path: str
) -> Value:
    given = _read_mapping(raw, path)
    if not missing_is_null and given.keys() != attributes.keys():
        odd = sorted(given.keys() ^ attributes.keys())
        raise NotConforming(f"{path}: these attributes are missing or not known: {', '.join(odd)}")
    return {
        name: conform(
            type_, given.get(name), missing_is_null=missing_is_null, path=f"{path}.{name}"
        )
        for name, type_ in attributes.items()
    }


def _conform_scalar(type_: Scalar, raw: object, path: str) -> bool | str | int | float:
    match type_.name, raw:
        case "string", str():
            return raw
        case "bool", bool():
            return raw
        case "number", int() | float() if not isinstance(raw, bool):
            return int(raw) if isinstance(raw, float) and raw.is_integer() else raw
        case "number", str():  # numbers that fit no machine type travel as decimal text
            return _parse_number(raw, path)
        case _:
            raise NotConforming(f"{path}: a {type_.name} is needed, got {type(raw).__name__}")


def _parse_number(text: str, path: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise NotConforming(f"{path}: {text!r} is not a number") from error


def _read_mapping(raw: object, path: str) -> Mapping[str, object]:
    if not isinstance(raw, Mapping):
        raise NotConforming(f"{path}: a mapping is needed, got {type(raw).__name__}")
    return cast("Mapping[str, object]", raw)


def _read_ext(code: int, _payload: bytes) -> Unknown:
    if code in (_EXT_UNKNOWN, _EXT_REFINED_UNKNOWN):
        return UNKNOWN
    raise ValueError(f"extension type {code} is not known")


def _write_unknown(value: object) -> object:
    if value is UNKNOWN:
        return _UNKNOWN_ON_WIRE
    raise TypeError(f"{type(value).__name__} has no place on the wire")


def _describe(type_: Type) -> object:
    match type_:
        case Scalar(name):
            return name
        case ListOf(element):
            return ["list", _describe(element)]
        case SetOf(element):
            return ["set", _describe(element)]
        case MapOf(element):
            return ["map", _describe(element)]
        case ObjectOf(attributes):
            return ["object", {name: _describe(each) for name, each in attributes.items()}]
