"""How resources and data sources are described: attributes, nested blocks, defaults and checks.

Promises: pure values; the wire form and the value type follow from one description, so they cannot
disagree. Checks see only known, non-null values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from provisionerd.tfprovider.cty import ListOf, ObjectOf, Scalar, SetOf, Type, Value

__all__ = [
    "BOOL",
    "NUMBER",
    "STRING",
    "Attribute",
    "Block",
    "Check",
    "NestedBlock",
    "Object",
    "Problem",
    "computed",
    "optional",
    "required",
]

STRING = Scalar("string")
NUMBER = Scalar("number")
BOOL = Scalar("bool")

Object: TypeAlias = Mapping[str, Value]
Check: TypeAlias = Callable[[Value], "str | None"]
"""Says what is wrong with a value, and what is allowed; None if nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person must mend (or, as a warning, may). `path` leads to the attribute."""

    summary: str
    detail: str = ""
    path: tuple[str | int, ...] = ()
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute; `default` fills in for null when a resource is planned or a source is read."""

    name: str
    type: Type = STRING
    required: bool = False
    optional: bool = False
    computed: bool = False
    sensitive: bool = False
    deprecated: bool = False
    default: Value = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedBlock:
    """Blocks of one name inside another. `items_max` 0 means any number."""

    name: str
    block: Block
    nesting: Literal["list", "set"]
    items_min: int = 0
    items_max: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The attributes and nested blocks of a resource, a data source or a nested block."""

    attributes: tuple[Attribute, ...]
    blocks: tuple[NestedBlock, ...] = ()
    version: int = 0

    def type(self) -> ObjectOf:
        """The type of the values that fit this block."""
        attributes: dict[str, Type] = {each.name: each.type for each in self.attributes}
        for nested in self.blocks:
            element = nested.block.type()
            attributes[nested.name] = (
                ListOf(element) if nested.nesting == "list" else SetOf(element)
            )
        return ObjectOf(attributes)


def required(name: str, type_: Type = STRING, *checks: Check) -> Attribute:
    """An attribute that must be given."""
    return Attribute(name=name, type=type_, required=True, checks=checks)


def optional(
    name: str,
    type_: Type = STRING,
    *checks: Check,
    default: Value = None,
    deprecated: bool = False,
) -> Attribute:
    """An attribute that may be given."""
    return Attribute(
        name=name, type=type_, optional=True, default=default, deprecated=deprecated, checks=checks
    )


def computed(name: str, type_: Type = STRING, *, sensitive: bool = False) -> Attribute:
    """An attribute only the provider sets."""
    return Attribute(name=name, type=type_, computed=True, sensitive=sensitive)
