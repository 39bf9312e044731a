"""Writes docs/settings.md from the settings classes of the services; `--check` fails if it is not
current.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from generated import ROOT, table, write_or_check
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from agentgw.wiring.settings import GatewaySettings
from provisionerd.wiring.settings import ProvisionerdSettings
from reconciler.wiring.settings import ReconcilerSettings
from svckit.settings import ServiceSettings
from svckit.settings_sources import flag_name, variable_name

PAGE = ROOT / "docs" / "settings.md"
TOOL = ".venv/bin/python tools/settings_doc.py"
SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("The control plane", ReconcilerSettings),
    ("The provisioner", ProvisionerdSettings),
    ("The agent gateway", GatewaySettings),
)
HEADER = ("flag", "variable", "default", "allowed", "meaning")
INTRODUCTION = f"""\
# Settings

Made from the services' settings classes by `{TOOL}`.

Every setting of a service has one name. `drain_seconds` of the reconciler is the flag
`--drain-seconds`, the variable `WARMPOOL_RECONCILER_DRAIN_SECONDS`, and the key `drain_seconds` of
the TOML file that `--config` or `WARMPOOL_RECONCILER_CONFIG` names. A flag beats the environment,
which beats the file. Lists are written `a,b`, tables `key=value,key=value`. A wrong value ends the
service with one line that names it, and exit code 2; `--help` shows what is on this page.

The settings of the `warmpool` command are in [cli.md](cli.md), those of the agent in
[its README](../libs/agentsdk/README.md).
"""


def main() -> int:
    return write_or_check({PAGE: draw()}, tool=TOOL, check=sys.argv[1:] == ["--check"])


def draw() -> str:
    """The page."""
    shared = ServiceSettings.model_fields
    parts = [INTRODUCTION]
    for title, cls in SERVICES:
        own = {name: field for name, field in cls.model_fields.items() if name not in shared}
        parts += [f"## {title}: {cls.service}\n", table(HEADER, _rows(cls.service, own.items()))]
    parts += [
        "## Every service\n\nThe variables begin with `WARMPOOL_RECONCILER_`,"
        " `WARMPOOL_PROVISIONERD_` or `WARMPOOL_AGENTGW_`.\n",
        table(HEADER, _rows("…", shared.items())),
    ]
    return "\n".join(parts)


def _rows(service: str, fields: Iterable[tuple[str, FieldInfo]]) -> list[tuple[str, ...]]:
    return [
        (
            f"`{flag_name(name)}`",
            f"`{variable_name(service, name)}`",
            _default(field),
            _allowed(field),
            field.description or "",
        )
        for name, field in fields
    ]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "none" if field.default_factory in (dict, list, tuple) else "the host's"
    value: Any = field.default
    if isinstance(value, SecretStr):  # a default that stands in the code is no secret
        value = value.get_secret_value()
    if value in (None, (), ""):
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, cast('tuple[object, ...]', value)))}`"
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case float() if value.is_integer():
            return f"`{int(value)}`"
        case _:
            return f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    words: list[str] = []
    if choices := _choices(field.annotation):
        words.append(", ".join(choices))
    for rule in field.metadata:
        match rule:
            case Ge(ge=limit):
                words.append(f"≥ {limit}")
            case Gt(gt=limit):
                words.append(f"> {limit}")
            case Le(le=limit):
                words.append(f"≤ {limit}")
            case Lt(lt=limit):
                words.append(f"< {limit}")
            case MaxLen(max_length=limit):
                words.append(f"at most {limit} characters")
            case MinLen(min_length=limit):
                words.append(f"at least {limit}")
            case _:
                pass
    annotation: Any = field.annotation
    if annotation is bool:
        words.append("true, false")
    if annotation in (Path, Path | None):
        words.append("a path")
    return ", ".join(words)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


if __name__ == "__main__":
    sys.exit(main())
