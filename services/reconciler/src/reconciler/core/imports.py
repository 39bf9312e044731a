"""Whether what a template asks and offers can be kept, told to its author when it is imported.

Promises: what passes never makes a build, a pool or the database fail for being malformed; of what
does not, every problem is named, with its field, what is wrong and what is allowed. A preset that
keeps a pool must be buildable without anybody's further word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, cast

from reconciler.core.parameters import read_parameters
from reconciler.core.presets import (
    Parameter,
    PatternInvalid,
    check_pattern,
    validate_parameters,
)
from reconciler.core.presets.values import TYPES
from reconciler.core.schedules import ScheduleInvalid, validate_schedules
from reconciler.core.schedules.schedule import INSTANCES_MAX
from reconciler.core.templates import (
    ImportedParameter,
    ImportedPrebuilds,
    ImportedPreset,
    ImportResult,
)
from svckit.errors import InvalidArgument

__all__ = ["ImportProblem", "find_problems", "require_importable", "to_rows"]

PARAMETERS_MAX: Final = 200
PRESETS_MAX: Final = 200
AGENTS_MAX: Final = 64
OPTIONS_MAX: Final = 1000
NAME_MAX: Final = 128  # characters
TEXT_BYTES_MAX: Final = 64 * 1024
TTL_SECONDS_MIN: Final = 3600
TTL_SECONDS_MAX: Final = 31_536_000
MONOTONIC: Final = ("", "increasing", "decreasing")
_SHOWN_MAX = 20  # problems in one message


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """One thing that is wrong with a template. `allowed` is empty if `what` says it."""

    field: str
    what: str
    allowed: str = ""

    def __str__(self) -> str:
        allowed = f"; allowed is {self.allowed}" if self.allowed else ""
        return f"{self.field} {self.what}{allowed}"


def to_rows(parameters: Iterable[ImportedParameter]) -> list[dict[str, Any]]:
    """Parameters as a version's row keeps them; `read_parameters` reads them back."""
    return [asdict(parameter) for parameter in parameters]


def require_importable(result: ImportResult, now: datetime) -> None:
    """Raises InvalidArgument that names every problem."""
    problems = tuple(find_problems(result, now))
    if problems:
        more = len(problems) - _SHOWN_MAX
        raise InvalidArgument(
            "the template cannot be imported: "
            + ". ".join(map(str, problems[:_SHOWN_MAX]))
            + (f". And {more} more." if more > 0 else "."),
            reason="TEMPLATE_INVALID",
            field=problems[0].field,
        )


def find_problems(result: ImportResult, now: datetime) -> Iterator[ImportProblem]:
    """Everything that is wrong. `now` is where the search for a schedule clash begins."""
    sizes = list(_check_sizes(result))
    yield from sizes
    if sizes:
        return  # so much is not looked at one by one
    texts = list(_check_texts("template", asdict(result)))
    yield from texts
    if texts:
        return
    yield from _check_names("parameters", (p.name for p in result.parameters))
    yield from _check_names("presets", (p.name for p in result.presets))
    yield from _check_names("agent_names", result.agent_names)
    broken = list(_check_parameters(result.parameters))
    yield from broken
    defaults = [preset.name for preset in result.presets if preset.is_default]
    if len(defaults) > 1:
        yield ImportProblem("presets", f"has the defaults {', '.join(defaults)}", "at most one")
    parameters = read_parameters(to_rows(result.parameters))
    for preset in result.presets:
        if preset.prebuilds is not None:
            yield from _check_prebuilds(_name_of(preset), preset.prebuilds, now)
        if not broken:
            yield from _check_values(preset, parameters)


def _check_sizes(result: ImportResult) -> Iterator[ImportProblem]:
    for field, count, most in (
        ("parameters", len(result.parameters), PARAMETERS_MAX),
        ("presets", len(result.presets), PRESETS_MAX),
        ("agent_names", len(result.agent_names), AGENTS_MAX),
        ("options", max((len(p.options) for p in result.parameters), default=0), OPTIONS_MAX),
    ):
        if count > most:
            yield ImportProblem(field, f"has {count} entries", f"at most {most}")


def _check_texts(field: str, value: object) -> Iterator[ImportProblem]:
    """What a database refuses to keep, wherever it is."""
    if isinstance(value, str):
        if "\0" in value or len(value.encode()) > TEXT_BYTES_MAX:
            yield ImportProblem(
                field,
                "is too long or holds a NUL",
                f"at most {TEXT_BYTES_MAX} bytes without a NUL",
            )
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from _check_texts(f"a name in {field}", key)
            yield from _check_texts(f"{field}.{key[:NAME_MAX]}", inner)
    elif isinstance(value, tuple):
        for index, inner in enumerate(cast("tuple[object, ...]", value)):
            yield from _check_texts(f"{field}.{index}", inner)


def _check_names(field: str, names: Iterable[str]) -> Iterator[ImportProblem]:
    for name, count in Counter(names).items():
        if not name or len(name) > NAME_MAX:
            yield ImportProblem(
                field, f'has the name "{name[:NAME_MAX]}"', f"1 to {NAME_MAX} characters"
            )
        if count > 1:
            yield ImportProblem(field, f'has "{name[:NAME_MAX]}" {count} times', "each name once")


def _check_parameters(parameters: Sequence[ImportedParameter]) -> Iterator[ImportProblem]:
    for parameter in parameters:
        name = f'parameter "{parameter.name}"'
        if parameter.type not in TYPES:
            yield ImportProblem(
                f"{name}.type", f'is "{parameter.type}"', f"one of {', '.join(TYPES)}"
            )
        if parameter.validation_monotonic not in MONOTONIC:
            yield ImportProblem(
                f"{name}.validation.monotonic",
                f'is "{parameter.validation_monotonic}"',
                "increasing, decreasing or empty",
            )
        least, most = parameter.validation_min, parameter.validation_max
        if least is not None and most is not None and least > most:
            yield ImportProblem(
                f"{name}.validation.min", f"is {least}", f"at most validation.max, {most}"
            )
        if parameter.validation_regex:
            try:
                check_pattern(parameter.validation_regex)
            except PatternInvalid as error:
                yield ImportProblem(f"{name}.validation.regex", str(error), "an RE2 expression")


def _check_prebuilds(
    name: str, prebuilds: ImportedPrebuilds, now: datetime
) -> Iterator[ImportProblem]:
    if not 0 <= prebuilds.instances <= INSTANCES_MAX:
        yield ImportProblem(
            f"{name}.prebuilds.instances", f"is {prebuilds.instances}", f"0 to {INSTANCES_MAX}"
        )
    ttl = prebuilds.ttl_seconds
    if ttl != 0 and not TTL_SECONDS_MIN <= ttl <= TTL_SECONDS_MAX:
        yield ImportProblem(
            f"{name}.prebuilds.ttl_seconds",
            f"is {ttl}",
            f"0 for never, or {TTL_SECONDS_MIN} to {TTL_SECONDS_MAX}",
        )
    try:
        validate_schedules(
            [(schedule.cron, schedule.instances) for schedule in prebuilds.schedules],
            prebuilds.timezone,
            now,
        )
    except ScheduleInvalid as error:
        yield ImportProblem(f"{name}.prebuilds.{error.field}", error.what, error.allowed)


def _check_values(
    preset: ImportedPreset, parameters: tuple[Parameter, ...]
) -> Iterator[ImportProblem]:
    """A pool's preset must be complete; any other leaves open what its user is asked."""
    for problem in validate_parameters(parameters, preset.parameters).problems:
        if preset.prebuilds is not None or problem.name in preset.parameters:
            yield ImportProblem(
                f"{_name_of(preset)}.parameters.{problem.name}",
                problem.what.rstrip("."),
            )


def _name_of(preset: ImportedPreset) -> str:
    return f'preset "{preset.name}"'
