"""`{owner.username}` and its like in the texts of a template.

Promises: pure; a placeholder that does not exist is the template's fault, found at import. A text
that becomes a script takes no value that a shell could understand as more than a word: what people
write about themselves is refused in scripts altogether (give it to `env`, where it is never
parsed), and any other value is looked at when it is filled in. `{{owner.username}}` stands for
itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from provisionerd.core.errors import ParameterInvalid, TemplateInvalid
from provisionerd.core.provisioner import Build
from provisionerd.process.document import FILE_NAME

__all__ = ["build_values", "check_placeholders", "fill"]

FIXED = (
    "owner.id",
    "owner.username",
    "owner.full_name",
    "owner.email",
    "workspace.id",
    "workspace.name",
    "template.name",
    "template.version",
    "organization.name",
)
ENV_ONLY = ("owner.full_name", "owner.email")
_PLACEHOLDER = re.compile(
    r"\{\{(?P<literal>[a-z_]+\.[A-Za-z0-9_-]+)\}\}|\{(?P<name>[a-z_]+\.[A-Za-z0-9_-]+)\}"
)
_PLAIN = re.compile(r"[\w .,:@/+=-]*")


def check_placeholders(
    where: str, text: str, parameters: Iterable[str], *, is_script: bool
) -> None:
    """Raises TemplateInvalid if a placeholder does not exist, or may not stand here."""
    allowed = (*FIXED, *(f"parameter.{name}" for name in parameters))
    for match in _PLACEHOLDER.finditer(text):
        name = match["name"]
        if name is None:
            continue
        if name not in allowed:
            raise TemplateInvalid(
                f"{FILE_NAME}: {where} has {{{name}}}; placeholders are"
                f" {', '.join(f'{{{each}}}' for each in allowed)};"
                f" write {{{{{name}}}}} for the text itself"
            )
        if is_script and name in ENV_ONLY:
            raise TemplateInvalid(
                f"{FILE_NAME}: {where} has {{{name}}}, which a shell could misread;"
                " put it into the agent's env and use the variable"
            )


def build_values(build: Build, parameters: Mapping[str, str]) -> dict[str, str]:
    """What every placeholder stands for in a build."""
    fixed = {
        "owner.id": build.owner.id,
        "owner.username": build.owner.username,
        "owner.full_name": build.owner.full_name,
        "owner.email": build.owner.email,
        "workspace.id": build.workspace_id,
        "workspace.name": build.workspace_name,
        "template.name": build.template_name,
        "template.version": build.template_version_name,
        "organization.name": build.organization_name,
    }
    return fixed | {f"parameter.{name}": value for name, value in parameters.items()}


def fill(text: str, values: Mapping[str, str], *, is_script: bool) -> str:
    """Puts the values in. Raises ParameterInvalid if one may not stand in a script."""

    def replace(match: re.Match[str]) -> str:
        literal, name = match["literal"], match["name"]
        if literal is not None:
            return f"{{{literal}}}"
        value = values[name]
        if is_script and not _PLAIN.fullmatch(value):
            raise ParameterInvalid(
                f"{name} is {value!r}; a script of the template uses it, so only letters, digits,"
                " spaces and _ . , : @ / + = - are allowed"
            )
        return value

    return _PLACEHOLDER.sub(replace, text)
