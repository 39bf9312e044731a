"""Reads what a template asks and offers out of `terraform show -json <plan>`.

Parameters and presets are data sources, so they stand in `prior_state`; agents are resources, so
they stand in `planned_values`. Both may sit in modules at any depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from provisionerd.core.errors import ProvisionError, TemplateInvalid
from provisionerd.core.provisioner import (
    ImportResult,
    Option,
    Parameter,
    Prebuilds,
    Preset,
    Schedule,
)
from provisionerd.terraform.agents import refuse_repeated
from provisionerd.terraform.jsonvalues import (
    boolean,
    first,
    integer,
    mapping,
    mappings,
    text,
    texts,
)

__all__ = ["read_template"]


def read_template(plan: bytes) -> ImportResult:
    """Reads the JSON form of a plan."""
    try:
        parsed: object = json.loads(plan)
    except ValueError as error:
        raise ProvisionError(f"the plan is not JSON: {error}", retryable=True) from error
    document = mapping(parsed)
    prior = mapping(mapping(document.get("prior_state")).get("values"))
    planned = mapping(document.get("planned_values"))
    read = list(_walk(mapping(prior.get("root_module"))))
    made = list(_walk(mapping(planned.get("root_module"))))
    parameters = tuple(
        _read_parameter(mapping(source.get("values")))
        for source in sorted(read, key=_order)
        if text(source.get("type")) == "coder_parameter"
    )
    presets = tuple(
        _read_preset(mapping(source.get("values")))
        for source in read
        if text(source.get("type")) == "coder_workspace_preset"
    )
    agent_names = tuple(
        text(resource.get("name"))
        for resource in made
        if text(resource.get("type")) == "coder_agent"
    )
    refuse_repeated("parameter name", (parameter.name for parameter in parameters))
    refuse_repeated("preset name", (preset.name for preset in presets))
    refuse_repeated("agent name", agent_names)
    defaults = [preset.name for preset in presets if preset.is_default]
    if len(defaults) > 1:
        raise TemplateInvalid(f"presets {', '.join(defaults)} are all default; only one may be")
    return ImportResult(parameters=parameters, presets=presets, agent_names=agent_names)


def _walk(module: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield from mappings(module.get("resources"))
    for child in mappings(module.get("child_modules")):
        yield from _walk(child)


def _order(source: Mapping[str, object]) -> tuple[int, str]:
    values = mapping(source.get("values"))
    return integer(values.get("order")) or 0, text(source.get("address"))


def _read_parameter(values: Mapping[str, object]) -> Parameter:
    validation = first(values.get("validation"))
    has_minimum = not boolean(validation.get("min_disabled"))
    has_maximum = not boolean(validation.get("max_disabled"))
    optional = values.get("optional")
    default = values.get("default")
    return Parameter(
        name=text(values.get("name")),
        type=text(values.get("type")) or "string",
        display_name=text(values.get("display_name")),
        description=text(values.get("description")),
        # upstream's convention: `optional` says whether a default was written
        default=text(default) if optional is True or isinstance(default, str) else None,
        mutable=boolean(values.get("mutable")),
        ephemeral=boolean(values.get("ephemeral")),
        options=tuple(
            Option(
                name=text(option.get("name")),
                value=text(option.get("value")),
                description=text(option.get("description")),
            )
            for option in mappings(values.get("option"))
        ),
        regex=text(validation.get("regex")),
        error=text(validation.get("error")),
        minimum=integer(validation.get("min")) if has_minimum else None,
        maximum=integer(validation.get("max")) if has_maximum else None,
        monotonic=text(validation.get("monotonic")),
    )


def _read_preset(values: Mapping[str, object]) -> Preset:
    return Preset(
        name=text(values.get("name")),
        is_default=boolean(values.get("default")),
        parameters=texts(values.get("parameters")),
        description=text(values.get("description")),
        icon=text(values.get("icon")),
        prebuilds=next(map(_read_prebuilds, mappings(values.get("prebuilds"))), None),
    )


def _read_prebuilds(values: Mapping[str, object]) -> Prebuilds:
    expiration = first(values.get("expiration_policy"))
    scheduling = first(values.get("scheduling"))
    return Prebuilds(
        instances=integer(values.get("instances")) or 0,
        ttl_seconds=integer(expiration.get("ttl")) or 0,
        timezone=text(scheduling.get("timezone")),
        schedules=tuple(
            Schedule(
                cron=text(schedule.get("cron")), instances=integer(schedule.get("instances")) or 0
            )
            for schedule in mappings(scheduling.get("schedule"))
        ),
    )
