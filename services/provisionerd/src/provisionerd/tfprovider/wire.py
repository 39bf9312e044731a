"""Protocol messages <-> our values. Pure; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from provisionerd.tfprovider.cty import NotConforming, Value, decode, encode, encode_type
from provisionerd.tfprovider.protocol import tfplugin5_pb2 as pb
from provisionerd.tfprovider.schema import Attribute, Block, NestedBlock, Object, Problem

__all__ = [
    "decode_object",
    "decode_optional_object",
    "encode_problems",
    "encode_schema",
    "encode_value",
]

_SEVERITIES = {"error": pb.Diagnostic.ERROR, "warning": pb.Diagnostic.WARNING}
_NESTINGS = {"list": pb.Schema.NestedBlock.LIST, "set": pb.Schema.NestedBlock.SET}


def decode_optional_object(block: Block, value: pb.DynamicValue) -> Object | None:
    """An object of a block's type; None for null or nothing."""
    if not value.msgpack:
        return None
    decoded = decode(block.type(), value.msgpack)
    if decoded is None or isinstance(decoded, Mapping):
        return cast("Object | None", decoded)
    raise NotConforming("value: an object is needed")


def decode_object(block: Block, value: pb.DynamicValue) -> Object:
    """An object of a block's type."""
    decoded = decode_optional_object(block, value)
    if decoded is None:
        raise NotConforming("value: an object is needed, got null")
    return decoded


def encode_value(block: Block, value: Value) -> pb.DynamicValue:
    """A value of a block's type, null included."""
    return pb.DynamicValue(msgpack=encode(block.type(), value))


def encode_problems(problems: Iterable[Problem]) -> list[pb.Diagnostic]:
    """Diagnostics as Terraform prints them."""
    return [
        pb.Diagnostic(
            severity=_SEVERITIES[problem.severity],
            summary=problem.summary,
            detail=problem.detail,
            attribute=_encode_path(problem.path) if problem.path else None,
        )
        for problem in problems
    ]


def encode_schema(block: Block) -> pb.Schema:
    """A schema as GetSchema returns it."""
    return pb.Schema(version=block.version, block=_encode_block(block))


def _encode_path(path: tuple[str | int, ...]) -> pb.AttributePath:
    return pb.AttributePath(
        steps=[
            pb.AttributePath.Step(element_key_int=step)
            if isinstance(step, int)
            else pb.AttributePath.Step(attribute_name=step)
            for step in path
        ]
    )


def _encode_block(block: Block) -> pb.Schema.Block:
    return pb.Schema.Block(
        version=block.version,
        attributes=[_encode_attribute(each) for each in block.attributes],
        block_types=[_encode_nested(each) for each in block.blocks],
    )


def _encode_attribute(attribute: Attribute) -> pb.Schema.Attribute:
    return pb.Schema.Attribute(
        name=attribute.name,
        type=encode_type(attribute.type),
        required=attribute.required,
        optional=attribute.optional,
        computed=attribute.computed,
        sensitive=attribute.sensitive,
        deprecated=attribute.deprecated,
    )


def _encode_nested(nested: NestedBlock) -> pb.Schema.NestedBlock:
    return pb.Schema.NestedBlock(
        type_name=nested.name,
        block=_encode_block(nested.block),
        nesting=_NESTINGS[nested.nesting],
        min_items=nested.items_min,
        max_items=nested.items_max,
    )
