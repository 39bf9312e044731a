"""`coder_parameter`: a question a template asks the person who creates a workspace.

Promises: a value that passes is of the parameter's type, one of its options if it has any, within
its validation, and not against its direction. Conventions are upstream's: unset top-level
attributes are null; unset ones inside `option` and `validation` are "", 0 or false;
`min_disabled` and `max_disabled` tell an unset bound from zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from provisionerd.tfprovider.checks import duplicates, one_of, url
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import Scalar, Unknown, Value
from provisionerd.tfprovider.kinds import DataSource, Refused
from provisionerd.tfprovider.schema import (
    BOOL,
    NUMBER,
    STRING,
    Attribute,
    Block,
    NestedBlock,
    Object,
    Problem,
    computed,
    optional,
    required,
)
from provisionerd.tfprovider.sources.parameter_value import (
    FORM_TYPES,
    TYPES,
    check_form_type,
    check_options,
    check_value,
    default_form_type,
)
from provisionerd.tfprovider.sources.workspace import stable_id

__all__ = ["PARAMETER"]

_OPTION = Block(
    attributes=(
        required("name"),
        required("value"),
        optional("description"),
        optional("icon", STRING, url),
    )
)
_VALIDATION = Block(
    attributes=(
        optional("min", NUMBER),
        optional("max", NUMBER),
        optional("monotonic", STRING, one_of("increasing", "decreasing")),
        optional("regex"),
        optional("error"),
        computed("min_disabled", BOOL),
        computed("max_disabled", BOOL),
    )
)
_EMPTY: Mapping[str, Value] = {"string": "", "number": 0, "bool": False}


def _check(config: Object) -> Iterable[Problem]:
    yield from duplicates(config, "option", "name")
    yield from duplicates(config, "option", "value")
    if config.get("ephemeral") is True:
        if config.get("default") is None:
            yield Problem(
                summary="An ephemeral parameter needs a default",
                detail="ephemeral is true and default is not set; its value is asked for each"
                " build, so a default must stand in.",
                path=("default",),
            )
        if not config.get("mutable"):
            yield Problem(
                summary="An ephemeral parameter must be mutable",
                detail="ephemeral is true, mutable is not; a value for one build only can change.",
                path=("mutable",),
            )
    yield from check_form_type(config)
    for validation in _blocks(config, "validation"):
        yield from _check_validation(config, validation)
    default = config.get("default")
    yield from check_options(config)
    if isinstance(default, str) and default:
        yield from check_value(config, default, None, what="default")


def _check_validation(config: Object, validation: Object) -> Iterable[Problem]:
    type_ = config.get("type") or "string"
    if isinstance(type_, Unknown):
        return
    for name in ("min", "max", "monotonic"):
        if type_ != "number" and validation.get(name) is not None:
            yield Problem(
                summary=f"validation.{name} is for numbers",
                detail=f"validation.{name} is set on a parameter of type {type_}; it is allowed for"
                f" type number only.",
                path=("validation", 0, name),
            )
    if type_ != "string" and validation.get("regex"):
        yield Problem(
            summary="validation.regex is for strings",
            detail=f"validation.regex is set on a parameter of type {type_}; it is allowed for type"
            f" string only.",
            path=("validation", 0, "regex"),
        )
    if validation.get("regex") and validation.get("error") in (None, ""):
        yield Problem(
            summary="validation.error must be set",
            detail="validation.regex is set and validation.error is not; people need to be told"
            " what is allowed.",
            path=("validation", 0, "error"),
        )


def _read(context: ProviderContext, config: Object) -> Object:
    name, default = str(config.get("name")), config.get("default")
    given = context.find_parameter(name)
    value = given if given is not None else (default if isinstance(default, str) else None)
    # no value yet (a template's import) and an empty default are nobody's mistake
    if value is not None and (value or value != default):
        previous = context.find_previous_parameter(name)
        problems = tuple(check_value(config, value, previous, what="value"))
        if problems:
            raise Refused(*problems)
    return {
        "id": stable_id("parameter", name),
        "value": value or "",
        "optional": default is not None,
        "form_type": config.get("form_type") or default_form_type(config),
        "option": tuple(_fill_empty(_OPTION, each) for each in _blocks(config, "option")),
        "validation": tuple(
            {
                **_fill_empty(_VALIDATION, each),
                "min_disabled": each.get("min") is None,
                "max_disabled": each.get("max") is None,
            }
            for each in _blocks(config, "validation")
        ),
    }


def _fill_empty(block: Block, values: Object) -> dict[str, Value]:
    return {
        attribute.name: _EMPTY[cast("Scalar", attribute.type).name]
        if values.get(attribute.name) is None
        else values.get(attribute.name)
        for attribute in block.attributes
    }


def _blocks(values: Object, name: str) -> Iterable[Object]:
    items = values.get(name)
    return [
        each for each in (items if isinstance(items, tuple) else ()) if isinstance(each, Mapping)
    ]


PARAMETER = DataSource(
    name="coder_parameter",
    schema=Block(
        attributes=(
            computed("id"),
            required("name"),
            optional("type", STRING, one_of(*TYPES), default="string"),
            Attribute(
                name="form_type",
                type=STRING,
                optional=True,
                computed=True,
                checks=(one_of(*FORM_TYPES),),
            ),
            optional("display_name"),
            optional("description"),
            optional("default"),
            optional("icon", STRING, url),
            optional("order", NUMBER),
            optional("mutable", BOOL, default=False),
            optional("ephemeral", BOOL, default=False),
            optional("styling", STRING, default="{}"),
            computed("value"),
            computed("optional", BOOL),
        ),
        blocks=(
            NestedBlock(name="option", nesting="list", block=_OPTION),
            NestedBlock(name="validation", nesting="list", items_max=1, block=_VALIDATION),
        ),
    ),
    check=_check,
    read=_read,
)
