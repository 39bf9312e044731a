"""Checks a configuration against its schema and its kind's own rules.

Promises: only known values are judged, so a plan before an apply never fails for what it cannot
know yet; every problem names the attribute, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from provisionerd.tfprovider.cty import Unknown
from provisionerd.tfprovider.kinds import DataSource, Resource
from provisionerd.tfprovider.schema import Block, Object, Problem

__all__ = ["check_block", "check_config"]


def check_config(kind: Resource | DataSource, config: Object) -> Iterator[Problem]:
    """All that is wrong with a configuration."""
    yield from check_block(kind.schema, config)
    yield from kind.check(config)


def check_block(
    block: Block, values: Object, path: tuple[str | int, ...] = ()
) -> Iterable[Problem]:
    """What the schema's checks say about a block and the blocks inside."""
    for attribute in block.attributes:
        value = values.get(attribute.name)
        if value is None or isinstance(value, Unknown):
            continue
        for check in attribute.checks:
            complaint = check(value)
            if complaint is not None:
                where = ".".join(str(step) for step in (*path, attribute.name))
                yield Problem(
                    summary=f"Invalid value for {where}",
                    detail=f"{where} {complaint}",
                    path=(*path, attribute.name),
                )
    for nested in block.blocks:
        items = values.get(nested.name)
        if not isinstance(items, tuple):
            continue
        for index, item in enumerate(items):
            if isinstance(item, Mapping):
                # a set's elements have no index: the path ends at the set
                position = (index,) if nested.nesting == "list" else ()
                yield from check_block(nested.block, item, (*path, nested.name, *position))
