"""What ties an agent to something else: `coder_agent_instance`, `coder_external_agent`,
`coder_metadata`, `coder_ai_task`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisionerd.tfprovider.checks import conflicts, duplicates, url, uuid_text
from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.cty import UNKNOWN, Unknown, Value
from provisionerd.tfprovider.kinds import Dice, Resource
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

__all__ = ["AGENT_INSTANCE", "AI_TASK", "EXTERNAL_AGENT", "METADATA"]

AGENT_INSTANCE = Resource(
    name="coder_agent_instance",
    schema=Block(attributes=(computed("id"), required("agent_id"), required("instance_id"))),
)

EXTERNAL_AGENT = Resource(
    name="coder_external_agent",
    schema=Block(version=1, attributes=(computed("id"), required("agent_id"))),
)


def _shape_metadata(context: ProviderContext, prior: Object | None, planned: Object) -> Object:
    del context, prior
    items = planned.get("item")
    if not isinstance(items, tuple):
        return planned
    return {**planned, "item": tuple(_tell_null(item) for item in items)}


def _tell_null(item: Value) -> Value:
    if not isinstance(item, Mapping):
        return item
    value = item.get("value")
    return {**item, "is_null": UNKNOWN if isinstance(value, Unknown) else value is None}


METADATA = Resource(
    name="coder_metadata",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            required("resource_id"),
            optional("hide", BOOL),
            optional("icon", STRING, url),
            optional("daily_cost", NUMBER),
        ),
        blocks=(
            NestedBlock(
                name="item",
                nesting="list",
                block=Block(
                    attributes=(
                        required("key"),
                        optional("value"),
                        optional("sensitive", BOOL, default=False),
                        computed("is_null", BOOL),
                    )
                ),
            ),
        ),
    ),
    check=lambda config: duplicates(config, "item", "key"),
    shape=_shape_metadata,
)


def _sidebar_app(values: Object) -> Value:
    blocks = values.get("sidebar_app")
    first = blocks[0] if isinstance(blocks, tuple) and blocks else None
    return first.get("id") if isinstance(first, Mapping) else None


def _check_ai_task(config: Object) -> Iterable[Problem]:
    yield from conflicts(config, "app_id", "sidebar_app")
    if config.get("app_id") is None and config.get("sidebar_app") in (None, ()):
        yield Problem(
            summary="app_id must be set",
            detail="app_id is not set; it must be the id of the coder_app that shows the task.",
            path=("app_id",),
        )


def _shape_ai_task(context: ProviderContext, prior: Object | None, planned: Object) -> Object:
    sidebar = _sidebar_app(planned)
    shaped = planned if sidebar is None else {**planned, "app_id": sidebar}
    if prior is None:
        return shaped
    return {**shaped, "prompt": context.task_prompt or None, "enabled": bool(context.task_id)}


def _make_ai_task(context: ProviderContext, planned: Object, dice: Dice) -> Object:
    return {
        "id": context.task_id or dice.new_id(),
        "app_id": _sidebar_app(planned),
        "prompt": context.task_prompt or None,
        "enabled": bool(context.task_id),
    }


AI_TASK = Resource(
    name="coder_ai_task",
    schema=Block(
        version=1,
        attributes=(
            computed("id"),
            Attribute(
                name="app_id", type=STRING, optional=True, computed=True, checks=(uuid_text,)
            ),
            computed("prompt"),
            computed("enabled", BOOL),
        ),
        blocks=(
            NestedBlock(
                name="sidebar_app",
                nesting="set",
                items_max=1,
                block=Block(attributes=(required("id", STRING, uuid_text),)),
            ),
        ),
    ),
    check=_check_ai_task,
    shape=_shape_ai_task,
    make=_make_ai_task,
)
