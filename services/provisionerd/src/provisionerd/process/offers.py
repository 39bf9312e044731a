"""What a template asks and offers: `[[parameters]]` and `[[presets]]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict
from zoneinfo import ZoneInfo

from provisionerd.core.provisioner import Option, Parameter, Prebuilds, Preset, Schedule
from provisionerd.process.document import Table
from provisionerd.process.values import find_complaint
from provisionerd.tfprovider.checks import length_max, matches, one_of, url
from provisionerd.tfprovider.cron import check_pool_cron, find_overlap
from provisionerd.tfprovider.pattern import PatternInvalid, compile_pattern

__all__ = ["read_parameter", "read_preset"]

TYPES = ("string", "number", "bool", "list(string)")
OPTIONS_MAX = 64
TTL_SECONDS_MIN = 3_600  # an hour: shorter would rebuild the pool all the time
TTL_SECONDS_MAX = 31_536_000  # a year

_parameter_name = matches(r"[A-Za-z0-9_-]{1,64}", "letters, digits, - and _, at most 64")


class _Validation(TypedDict, total=False):
    regex: str
    error: str
    minimum: int | None
    maximum: int | None
    monotonic: str


def read_parameter(table: Table) -> Parameter:
    """One of `[[parameters]]`."""
    parameter = Parameter(
        name=table.text("name", None, _parameter_name),
        type=table.text("type", "string", one_of(*TYPES)),
        display_name=table.text("display_name", ""),
        description=table.text("description", ""),
        default=table.value_text("default"),
        mutable=table.boolean("mutable", False),
        ephemeral=table.boolean("ephemeral", False),
        options=_read_options(table),
        **_read_validation(table),
    )
    if parameter.ephemeral and (parameter.default is None or not parameter.mutable):
        table.refuse("ephemeral", "is true; then default must be given and mutable be true")
    for option in parameter.options:
        if complaint := find_complaint(parameter, option.value):
            table.refuse("options", f"has {option.name!r}, whose value {complaint}")
    if parameter.default is not None and (
        complaint := find_complaint(parameter, parameter.default)
    ):
        table.refuse("default", complaint)
    table.refuse_others()
    return parameter


def _read_options(parameter: Table) -> tuple[Option, ...]:
    found: list[Option] = []
    for table in parameter.tables("options"):
        value = table.value_text("value")
        if value is None:
            table.refuse("value", "is missing; it must be given")
        found.append(
            Option(
                name=table.text("name"),
                value=value,
                description=table.text("description", ""),
            )
        )
        table.refuse_others()
    if len(found) > OPTIONS_MAX:
        parameter.refuse("options", f"has {len(found)} entries; at most {OPTIONS_MAX} are allowed")
    parameter.refuse_repeated("options", (option.name for option in found))
    parameter.refuse_repeated("options", (option.value for option in found))
    return tuple(found)


def _read_validation(parameter: Table) -> _Validation:
    table = parameter.table("validation")
    if table is None:
        return {}
    type_ = parameter.text("type", "string")
    if parameter.has("options"):
        parameter.refuse("validation", "and options are both given; only one of them may be")
    allowed = {"number": ("min", "max", "monotonic"), "string": ("regex", "error")}.get(type_, ())
    for key in ("min", "max", "monotonic", "regex"):
        if table.has(key) and key not in allowed:
            table.refuse(key, f"is given for a parameter of type {type_}, which has no such thing")
    regex, error = table.text("regex", ""), table.text("error", "")
    if regex:
        try:
            compile_pattern(regex)
        except PatternInvalid as problem:
            table.refuse("regex", f"{regex!r} {problem}")
        if not error:
            table.refuse("error", "is missing; it must say what regex allows")
    minimum, maximum = table.bound("min"), table.bound("max")
    if minimum is not None and maximum is not None and minimum > maximum:
        table.refuse("min", f"is {minimum}; it must not be above max, which is {maximum}")
    monotonic = table.text("monotonic", "", one_of("increasing", "decreasing"))
    table.refuse_others()
    return {
        "regex": regex,
        "error": error,
        "minimum": minimum,
        "maximum": maximum,
        "monotonic": monotonic,
    }


def read_preset(table: Table, parameters: tuple[Parameter, ...]) -> Preset:
    """One of `[[presets]]`; its values must satisfy the parameters."""
    values = table.values("parameters")
    declared = {parameter.name: parameter for parameter in parameters}
    _check_values(table, values, declared)
    prebuilds = table.table("prebuilds")
    preset = Preset(
        name=table.text("name"),
        is_default=table.boolean("default", False),
        parameters=values,
        description=table.text("description", "", length_max(128)),
        icon=table.text("icon", "", url, length_max(256)),
        prebuilds=None if prebuilds is None else _read_prebuilds(prebuilds),
    )
    if preset.prebuilds:
        for parameter in parameters:
            if parameter.default is None and parameter.name not in values:
                table.refuse(
                    "parameters",
                    f"has no {parameter.name!r}, which has no default; a pool needs every value",
                )
    table.refuse_others()
    return preset


def _check_values(
    table: Table, values: Mapping[str, str], declared: Mapping[str, Parameter]
) -> None:
    for name, value in values.items():
        if name not in declared:
            allowed = ", ".join(sorted(declared)) or "none"
            table.refuse(f"parameters.{name}", f"is no parameter; there are: {allowed}")
        if complaint := find_complaint(declared[name], value):
            table.refuse(f"parameters.{name}", complaint)


def _read_prebuilds(table: Table) -> Prebuilds:
    scheduling = table.table("scheduling")
    timezone, schedules = ("", ()) if scheduling is None else _read_scheduling(scheduling)
    prebuilds = Prebuilds(
        instances=table.integer("instances"),
        ttl_seconds=table.integer(
            "ttl", 0, minimum=TTL_SECONDS_MIN, maximum=TTL_SECONDS_MAX, also=0
        ),
        timezone=timezone,
        schedules=schedules,
    )
    table.refuse_others()
    return prebuilds


def _read_scheduling(table: Table) -> tuple[str, tuple[Schedule, ...]]:
    timezone = table.text("timezone", None, _timezone)
    schedules: list[Schedule] = []
    for entry in table.tables("schedule"):
        schedules.append(
            Schedule(
                cron=entry.text("cron", None, check_pool_cron),
                instances=entry.integer("instances"),
            )
        )
        entry.refuse_others()
    if not schedules:
        table.refuse("schedule", "is empty; at least one is needed")
    if overlap := find_overlap(tuple(schedule.cron for schedule in schedules)):
        one, other = overlap
        table.refuse("schedule", f"has {one!r} and {other!r}, which overlap; no two may")
    table.refuse_others()
    return timezone, tuple(schedules)


def _timezone(value: str) -> str | None:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        return f'is {value!r}; it must be an IANA time zone such as "Europe/Paris" or "UTC"'
    return None
