"""What becomes of a resource in a plan, an apply, a refresh and an upgrade. Pure but for the dice.

Promises: a plan never asks for replacement and keeps every computed value it has, so an agent's id
and token stay known through updates, claims included; an apply returns what was planned with the
unknown filled in; a tfstate of any version of any provider for these types can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from provisionerd.tfprovider.checking import check_config
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import UNKNOWN, NotConforming, Unknown, Value, conform
from provisionerd.tfprovider.kinds import DataSource, Dice, Refused, Resource, refuse
from provisionerd.tfprovider.schema import Block, Object

__all__ = ["apply_change", "plan_change", "read_data_source", "refresh_resource", "upgrade_tfstate"]


def plan_change(
    resource: Resource, context: ProviderContext, prior: Object | None, proposed: Object | None
) -> Object | None:
    """The planned values: None to delete, computed ones unknown on creation and kept on update."""
    if proposed is None:
        return None
    planned = fill_defaults(resource.schema, proposed)
    if prior is None:
        planned = {**planned, **_unknown_computed(resource.schema, planned)}
    elif planned.get("id") is None:
        planned = {**planned, "id": prior.get("id") or UNKNOWN}
    return resource.shape(context, prior, planned)


def apply_change(
    resource: Resource,
    context: ProviderContext,
    config: Object | None,
    planned: Object | None,
    dice: Dice,
) -> Object | None:
    """The new values: what was planned, with the unknown made."""
    if planned is None or config is None:
        return None
    problems = [each for each in check_config(resource, config) if each.severity == "error"]
    if problems:
        raise Refused(*problems)
    made = {"id": dice.new_id(), **resource.make(context, planned, dice)}
    new = {
        name: made.get(name) if isinstance(value, Unknown) else value
        for name, value in planned.items()
    }
    return resource.shape(context, new, new)


def refresh_resource(
    resource: Resource, context: ProviderContext, stored: Object | None
) -> Object | None:
    """The stored values brought up to date; nothing of ours can vanish by itself."""
    return None if stored is None else resource.refresh(context, stored)


def read_data_source(source: DataSource, context: ProviderContext, config: Object) -> Object:
    """The values of a data source, wholly known."""
    filled = fill_defaults(source.schema, config)
    return {**filled, **source.read(context, filled)}


def upgrade_tfstate(schema: Block, raw: bytes) -> Value:
    """A stored resource in today's shape: what is missing is null, what is not known is dropped."""
    try:
        stored: object = json.loads(raw)
        return conform(schema.type(), stored, missing_is_null=True)
    except (ValueError, NotConforming) as error:
        raise refuse("The tfstate holds a resource that cannot be read", str(error)) from error


def fill_defaults(block: Block, given: Object) -> Object:
    """The values with every default filled in, nested blocks included."""
    filled = dict(given)
    for attribute in block.attributes:
        if filled.get(attribute.name) is None and attribute.default is not None:
            filled[attribute.name] = attribute.default
    for nested in block.blocks:
        items = filled.get(nested.name)
        if isinstance(items, tuple):
            filled[nested.name] = tuple(
                fill_defaults(nested.block, cast("Object", item))
                if isinstance(item, Mapping)
                else item
                for item in items
            )
    return filled


def _unknown_computed(block: Block, planned: Object) -> dict[str, Value]:
    return {
        attribute.name: UNKNOWN
        for attribute in block.attributes
        if attribute.computed and planned.get(attribute.name) is None
    }
