"""Builders: a configuration as Terraform sends it, all that is not named null or empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from provisionerd.tfprovider.cty import Value
from provisionerd.tfprovider.kinds import DataSource, Resource
from provisionerd.tfprovider.schema import Block, Object


def fill(block: Block, values: Object) -> Object:
    nested = {each.name: each for each in block.blocks}
    filled: dict[str, Value] = dict.fromkeys(nested, ())
    filled.update({each.name: None for each in block.attributes})
    unexpected = values.keys() - filled.keys()
    assert not unexpected, f"the schema has no {unexpected}"
    for name, value in values.items():
        if name in nested and isinstance(value, tuple):
            inner = nested[name].block
            value = tuple(fill(inner, v) if isinstance(v, Mapping) else v for v in value)
        filled[name] = value
    return filled


def a_config(kind: Resource | DataSource, **values: Value) -> Object:
    return fill(kind.schema, values)


@pytest.fixture
def configure() -> Callable[..., Object]:
    return a_config


class CountingDice:
    """Makes id-1, token-1, id-2, ... in the order asked."""

    def __init__(self) -> None:
        self.ids = 0
        self.tokens = 0

    def new_id(self) -> str:
        self.ids += 1
        return f"id-{self.ids}"

    def new_token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"


@pytest.fixture
def dice() -> CountingDice:
    return CountingDice()
