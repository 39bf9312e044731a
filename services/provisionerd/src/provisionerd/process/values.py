"""Whether parameter values answer what a template asks.

Promises: pure; a value means here what it means to a Terraform template, because the same code
looks at it. A value nobody declared is ignored: an older workspace may still carry it.
"""

from __future__ import annotations

from collections.abc import Mapping

from provisionerd.core.errors import ParameterInvalid
from provisionerd.core.provisioner import Parameter
from provisionerd.tfprovider.cty import Value
from provisionerd.tfprovider.sources.parameter_value import check_value

__all__ = ["find_complaint", "resolve"]


def find_complaint(parameter: Parameter, value: str, previous: str | None = None) -> str | None:
    """How a value is wrong, reading on from its name; None if it is right."""
    config: dict[str, Value] = {
        "name": parameter.name,
        "type": parameter.type,
        "option": tuple(
            {"name": option.name, "value": option.value} for option in parameter.options
        ),
        "validation": (
            {
                "regex": parameter.regex,
                "error": parameter.error,
                "min": parameter.minimum,
                "max": parameter.maximum,
                "monotonic": parameter.monotonic,
            },
        ),
    }
    for problem in check_value(config, value, previous, what="value"):
        return problem.detail.removeprefix("value ").rstrip(".")
    return None


def resolve(
    parameters: tuple[Parameter, ...], given: Mapping[str, str], previous: Mapping[str, str]
) -> dict[str, str]:
    """The value of every parameter, or ParameterInvalid naming the first that is wrong."""
    found: dict[str, str] = {}
    for parameter in parameters:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            raise ParameterInvalid(f"parameter {parameter.name!r} has no value and no default")
        before = previous.get(parameter.name)
        if complaint := find_complaint(parameter, value, before):
            raise ParameterInvalid(f"parameter {parameter.name!r} {complaint}")
        if before is not None and before != value and not parameter.mutable:
            raise ParameterInvalid(
                f"parameter {parameter.name!r} is {value!r}; it is immutable and was {before!r}"
            )
        found[parameter.name] = value
    return found
