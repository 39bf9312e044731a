"""Values for a template's parameters: which ones a build gets, and what is wrong with them.

Promises: the rules are those the Terraform provider applies at build time, so that a value it would
refuse is refused when it is asked for, before a prebuild is given away. All problems are found, not
just the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.presets.values import check_value, quote

__all__ = [
    "Parameter",
    "ParameterProblem",
    "ParametersChecked",
    "differs_in_immutable",
    "validate_parameters",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a template version asks of its user.

    `type` is "string", "number", "bool" or "list(string)"; `options` are the allowed values, empty
    for any; `validation_monotonic` is "increasing", "decreasing" or empty.
    """

    name: str
    type: str = "string"
    default_value: str = ""
    has_default: bool = False
    is_mutable: bool = False
    is_ephemeral: bool = False
    options: tuple[str, ...] = ()
    validation_regex: str = ""
    validation_error: str = ""
    validation_min: int | None = None
    validation_max: int | None = None
    validation_monotonic: str = ""


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """What is wrong with the value of one parameter; reads on from its name."""

    name: str
    what: str

    @property
    def field(self) -> str:
        """The field of the request."""
        return f"parameters.{self.name}"

    def __str__(self) -> str:
        return f"parameter {quote(self.name)} {self.what}"


@dataclass(frozen=True, slots=True)
class ParametersChecked:
    """The values a build gets, and the problems, in the order of the declarations. With problems
    the values are not to be used.
    """

    values: Mapping[str, str]
    problems: tuple[ParameterProblem, ...]


def validate_parameters(
    parameters: Sequence[Parameter],
    given: Mapping[str, str],
    previous: Mapping[str, str] | None = None,
) -> ParametersChecked:
    """Completes and checks the given values. `previous` are those of the build before; None for a
    first build. What is not given is taken over from the build before, unless it was for one build
    only, else from the default.
    """
    before: Mapping[str, str] = {} if previous is None else previous
    known = {parameter.name for parameter in parameters}
    values: dict[str, str] = {}
    problems = [
        ParameterProblem(name, f"is unknown; allowed are {_list(known)}.")
        for name in given
        if name not in known
    ]
    for parameter in parameters:
        name = parameter.name
        value = _find_value(parameter, given, before)
        if value is None:
            problems.append(ParameterProblem(name, "has no value and no default; give it one."))
            continue
        values[name] = value
        problems.extend(
            ParameterProblem(name, what) for what in _check(parameter, value, given, before)
        )
    return ParametersChecked(values, tuple(problems))


def differs_in_immutable(
    parameters: Iterable[Parameter], given: Mapping[str, str], built: Mapping[str, str]
) -> tuple[str, ...]:
    """The parameters that are given a value other than the one they were built with and can never
    change; if there is one, the prebuild is not what the request asks for.
    """
    return tuple(
        parameter.name
        for parameter in parameters
        if not parameter.is_mutable
        and parameter.name in given
        and parameter.name in built
        and given[parameter.name] != built[parameter.name]
    )


def _find_value(
    parameter: Parameter, given: Mapping[str, str], before: Mapping[str, str]
) -> str | None:
    if parameter.name in given:
        return given[parameter.name]
    if parameter.name in before and not parameter.is_ephemeral:
        return before[parameter.name]
    return parameter.default_value if parameter.has_default else None


def _check(
    parameter: Parameter, value: str, given: Mapping[str, str], before: Mapping[str, str]
) -> Iterator[str]:
    name = parameter.name
    if name in given and differs_in_immutable((parameter,), given, before):
        yield (
            f"is {quote(value)} and was {quote(before[name])};"
            " it cannot change after the first build."
        )
        return
    if name not in given and value == parameter.default_value == "":
        return  # an empty default is nobody's mistake
    yield from check_value(
        value,
        type_=parameter.type,
        options=parameter.options,
        regex=parameter.validation_regex,
        error=parameter.validation_error,
        minimum=parameter.validation_min,
        maximum=parameter.validation_max,
        monotonic=parameter.validation_monotonic,
        previous=None if parameter.is_ephemeral else before.get(name),
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(quote, sorted(names))) or "none, the template has no parameters"
