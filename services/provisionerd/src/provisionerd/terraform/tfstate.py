"""Reads a tfstate: which resource instances exist, what depends on what, what is secret; and marks
instances in one as tainted.

Format version 4, the only one since Terraform 0.12 and OpenTofu 1.6. Pure. A tfstate that cannot be
read raises `TfstateUnreadable`: nothing may be concluded from half a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisionerd.core.errors import ProvisionError
from provisionerd.terraform.jsonvalues import (
    boolean,
    integer,
    mapping,
    mappings,
    sequence,
    text,
)

__all__ = ["Instance", "Tfstate", "TfstateUnreadable", "list_secrets", "read_tfstate", "taint"]


class TfstateUnreadable(ProvisionError):
    """The tfstate is not a tfstate, or was cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance of a managed resource or data source.

    `resource` is the address without the instance key, the form `dependencies` uses. `modules` are
    the modules it lies in, outermost first, each with its instance key as written, empty if none.
    One that is `deposed` has been replaced already and waits for its deletion.
    """

    address: str
    resource: str
    type: str
    name: str
    managed: bool
    attributes: Mapping[str, object] = field(repr=False)
    sensitive: tuple[str, ...] = ()
    dependencies: frozenset[str] = frozenset()
    tainted: bool = False
    deposed: bool = False
    modules: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tfstate:
    """What a tfstate says. `instances` keep the order of the file."""

    serial: int
    lineage: str
    instances: tuple[Instance, ...]
    sensitive_outputs: tuple[object, ...] = field(default=(), repr=False)

    @property
    def managed(self) -> tuple[Instance, ...]:
        """The instances Terraform made, without data sources."""
        return tuple(instance for instance in self.instances if instance.managed)


def read_tfstate(content: bytes | None) -> Tfstate:
    """Reads a tfstate; none, or an empty one, has no instances."""
    if not content or not content.strip():
        return Tfstate(serial=0, lineage="", instances=())
    try:
        parsed: object = json.loads(content)
    except ValueError as error:
        raise TfstateUnreadable(f"the tfstate is not complete JSON: {error}") from error
    document = mapping(parsed)
    version = integer(document.get("version"))
    if version != 4:
        raise TfstateUnreadable(f"the tfstate has format version {version}; only 4 is supported")
    outputs = [mapping(output) for output in mapping(document.get("outputs")).values()]
    return Tfstate(
        serial=integer(document.get("serial")) or 0,
        lineage=text(document.get("lineage")),
        instances=tuple(_read_instances(document)),
        sensitive_outputs=tuple(
            output.get("value") for output in outputs if boolean(output.get("sensitive"))
        ),
    )


def _read_instances(document: Mapping[str, object]) -> Iterator[Instance]:
    for resource in mappings(document.get("resources")):
        managed = text(resource.get("mode")) == "managed"
        module = _strip_keys(text(resource.get("module")))
        type_, name = text(resource.get("type")), text(resource.get("name"))
        local = f"{type_}.{name}" if managed else f"data.{type_}.{name}"
        place = ".".join(part for part in (text(resource.get("module")), local) if part)
        for instance in mappings(resource.get("instances")):
            dependencies = instance.get("dependencies")
            yield Instance(
                address=place + _render_key(instance.get("index_key")),
                resource=".".join(part for part in (module, local) if part),
                type=type_,
                name=name,
                managed=managed,
                attributes=mapping(instance.get("attributes")),
                sensitive=tuple(_read_sensitive(instance.get("sensitive_attributes"))),
                dependencies=frozenset(
                    _strip_keys(dependency)
                    for dependency in sequence(dependencies)
                    if isinstance(dependency, str)
                ),
                tainted=text(instance.get("status")) == "tainted",
                deposed=bool(text(instance.get("deposed"))),
                modules=tuple(_MODULE.findall(text(resource.get("module")))),
            )


def taint(content: bytes, addresses: Collection[str]) -> bytes:
    """A tfstate in which the managed instances at these addresses are to be made anew. What else
    it says stays, numbers to the digit; how it is laid out does not.
    """
    # a decimal number is carried through as text: a float would round it
    document: dict[str, Any] = json.loads(content, parse_float=lambda digits: _DIGITS + digits)
    for resource in document["resources"]:
        parts = (text(resource.get("module")), resource["type"], resource["name"])
        place = ".".join(part for part in parts if part)
        for instance in resource["instances"] if resource["mode"] == "managed" else ():
            if "deposed" in instance:
                continue
            if place + _render_key(instance.get("index_key")) in addresses:
                instance["status"] = "tainted"
    return _CARRIED.sub(r"\1", json.dumps(document, ensure_ascii=False)).encode()


_DIGITS = "decimal number of a tfstate: "
_CARRIED = re.compile(rf'"{_DIGITS}(-?[0-9.eE+-]+)"')
_MODULE = re.compile(r'module\.([\w-]+)(\[(?:\d+|"(?:[^"\\]|\\.)*")\])?')


def _render_key(key: object) -> str:
    match key:
        case int():
            return f"[{key}]"
        case str():
            # as in its events: letters as they are, and what begins a template doubled
            quoted = json.dumps(key, ensure_ascii=False)
            return f"[{quoted.replace('${', '$${').replace('%{', '%%{')}]"
        case _:
            return ""


def _strip_keys(address: str) -> str:
    """module.a["x.y"].module.b[0] -> module.a.module.b; keys may hold dots and brackets."""
    out: list[str] = []
    inside = quoted = escaped = False
    for character in address:
        if not inside:
            if character == "[":
                inside = True
            else:
                out.append(character)
        elif escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "]" and not quoted:
            inside = False
    return "".join(out)


def _read_sensitive(paths: object) -> Iterator[str]:
    """The top-level attributes that hold something sensitive; a path is a list of steps."""
    for path in sequence(paths):
        steps = mappings(path)
        if steps:
            yield text(steps[0].get("value"))


_SECRET_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "coder_agent": ("token",),
    "coder_workspace_owner": ("session_token", "ssh_private_key", "oidc_access_token"),
    "coder_external_auth": ("access_token",),
    "coder_secret": ("value",),
}


def list_secrets(tfstate: Tfstate) -> tuple[str, ...]:
    """Every string a log must not show: what the tfstate marks as sensitive, and what our own
    provider's schema does.
    """
    found: list[str] = []
    for value in tfstate.sensitive_outputs:
        found.extend(_strings(value))
    for instance in tfstate.instances:
        for name in (*instance.sensitive, *_SECRET_ATTRIBUTES.get(instance.type, ())):
            found.extend(_strings(instance.attributes.get(name)))
    return tuple(found)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    document = mapping(value)
    if set(document) == {"type", "value"}:  # a value of dynamic type carries its type beside it
        yield from _strings(document["value"])
        return
    for entry in document.values():
        yield from _strings(entry)
    for entry in sequence(value):
        yield from _strings(entry)
