"""Where settings come from, and how to say what is wrong with one.

Each value remembers its source, so that the error names what the operator typed: the flag, the
variable, or the key in the file.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

__all__ = ["Found", "HelpAsked", "SettingsError", "collect", "describe", "explain"]

_CONFIG = "config"
_MISSING = "missing"


class SettingsError(Exception):
    """A setting is wrong. The message is one line: its name, its value, what is allowed."""


class HelpAsked(Exception):
    """The operator asked for --help."""


@dataclass(frozen=True)
class Found:
    """A value and what the operator calls the place it came from."""

    value: object
    source: str


def collect(
    cls: type[BaseModel], service: str, argv: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Found]:
    """Every setting that is given, from its strongest source. Raises SettingsError, HelpAsked."""
    flags = _read_flags(cls, argv)
    variables: dict[str, Found] = {}
    for name in [*cls.model_fields, _CONFIG]:
        variable = variable_name(service, name)
        if variable in environ:
            variables[name] = Found(environ[variable], variable)
    found = variables | flags
    config = found.pop(_CONFIG, None)
    for name, value in found.items():
        if isinstance(value.value, str):
            found[name] = Found(_split(cls.model_fields[name], value), value.source)
    return (_read_file(cls, config) if config else {}) | found


def describe(cls: type[BaseModel], service: str) -> str:
    """The text of --help: every setting with its flag, variable, default and meaning."""
    lines = [
        f"usage: {service} [--SETTING VALUE ...]",
        "",
        "A flag beats the environment, which beats the file.",
        "",
        f"  {flag_name(_CONFIG)}  ({variable_name(service, _CONFIG)})",
        "      a TOML file with any of the settings below",
    ]
    for name, field in cls.model_fields.items():
        default = "required" if field.is_required() else f"default {_show_default(field)}"
        lines.append(f"  {flag_name(name)}  ({variable_name(service, name)})")
        lines.append(f"      {field.description or name.replace('_', ' ')}; {default}")
    return "\n".join(lines) + "\n"


def explain(
    cls: type[BaseModel], service: str, found: Mapping[str, Found], error: ValidationError
) -> str:
    """One line for the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    allowed = first["msg"].removeprefix("Value error, ")
    if not name:
        return allowed
    if first["type"] == _MISSING:
        meaning = cls.model_fields[name].description or "it has no default"
        return f"{flag_name(name)} ({variable_name(service, name)}) is required: {meaning}"
    value = found.get(name)
    if value is None:
        return f"{flag_name(name)}: {allowed}"
    shown = "(hidden)" if _is_secret(cls.model_fields[name]) else repr(value.value)
    return f"{value.source}: {shown} is not allowed: {allowed[:1].lower()}{allowed[1:]}"


def flag_name(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable_name(service: str, name: str) -> str:
    """The environment variable of a setting."""
    return f"WARMPOOL_{service}_{name}".upper().replace("-", "_")


def _read_flags(cls: type[BaseModel], argv: Sequence[str]) -> dict[str, Found]:
    names = {flag_name(name): name for name in [*cls.model_fields, _CONFIG]}
    flags: dict[str, Found] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            raise HelpAsked
        flag, separator, value = word.partition("=")
        name = names.get(flag)
        if name is None:
            raise SettingsError(f"{word}: no such flag; --help lists all")
        if name in flags:
            raise SettingsError(f"{flag}: given twice; allowed is once")
        if not separator:
            if name != _CONFIG and cls.model_fields[name].annotation is bool:
                value = "true"
            elif words:
                value = words.pop(0)
            else:
                raise SettingsError(f"{flag}: needs a value")
        flags[name] = Found(value, flag)
    return flags


def _read_file(cls: type[BaseModel], config: Found) -> dict[str, Found]:
    path = Path(str(config.value))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config.source}: cannot read {path}: {error}") from None
    for key in content:
        if key not in cls.model_fields:
            raise SettingsError(f"{path}: {key}: no such setting; --help lists all")
    return {key: Found(value, f"{path}: {key}") for key, value in content.items()}


def _split(field: FieldInfo, found: Found) -> object:
    text = cast("str", found.value)
    kinds = _kinds(field.annotation)
    words = [word.strip() for word in text.split(",") if word.strip()]
    if kinds & {dict, Mapping}:
        pairs = [word.partition("=") for word in words]
        if any(not separator for _, separator, _ in pairs):
            raise SettingsError(f"{found.source}: {text!r} is not allowed: key=value,key=value is")
        return {key.strip(): value.strip() for key, _, value in pairs}
    if kinds & {list, tuple, set, frozenset, Sequence}:
        return words
    return None if not text and type(None) in kinds else text


def _kinds(annotation: Any) -> set[Any]:
    """The origins an annotation may be: `dict[str, str] | None` is {dict, NoneType}."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return {kind for part in get_args(annotation) for kind in _kinds(part)}
    return {origin or annotation}


def _is_secret(field: FieldInfo) -> bool:
    return bool(_kinds(field.annotation) & {SecretStr, SecretBytes})


def _show_default(field: FieldInfo) -> str:
    default: object = field.get_default(call_default_factory=True)
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return '""' if default == "" else str(default)
