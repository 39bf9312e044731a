"""What HCL files use of providers: which resources, with which attributes and blocks, and what is
read from them.

A guess where a schema would know: an attribute that is read and never written is taken for one the
provider makes, and gets a value of the shape in which it is read. What an expression evaluates to
is not looked at: stubs take values of any type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import hcl2

__all__ = ["BlockUsage", "KindUsage", "Shape", "Usage", "read_usage"]

OURS: Final = "coder"
BUILTIN: Final = frozenset({OURS, "terraform"})
META: Final = frozenset(
    {"count", "for_each", "depends_on", "provider", "lifecycle", "provisioner", "connection"}
)
_REFERENCE = re.compile(
    r"(?<![\w.-])(?:(?P<data>data)\.(?P<source>[a-z][a-z0-9_]*)|(?P<type>[a-z][a-z0-9]*_[a-z0-9_]+))"
    r"\.(?P<name>[\w-]+)"
    r"(?P<path>(?:\.[A-Za-z_][\w-]*|\.\*|\.\d+|\[[^\[\]]*\])*)"
)
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|(\.\*|\.\d+|\[\*\])|\[([^\[\]]*)\]")
_TAKES_LIST = re.compile(
    r"(?:\b(?:element|length|toset|tolist|flatten|concat|join|one|sort|distinct|zipmap)\s*\("
    r"(?:[^()]*,)?\s*|\bin\s+)$"
)
_IS_LIST = re.compile(
    r"(?:.*\?\s*)?\[|(?:toset|tolist|concat|flatten|compact|distinct|split|sort|keys|values)\(|.*\[\*\][\w.]*\}?$"
)
_IS_MAP = re.compile(r"(?:.*\?\s*)?\{|(?:merge|zipmap|tomap)\(")
_TAKES_MAP = re.compile(r"\b(?:keys|values|lookup|merge)\s*\(\s*$")
_TAKES_JSON = re.compile(r"\bjsondecode\s*\(\s*$")
_TAKES_BASE64 = re.compile(r"\b(?:base64decode|base64gunzip)\s*\(\s*$")
_TAKES_NUMBER = re.compile(r"(?:\b(?:tonumber|floor|ceil|max|min)\s*\(|[-+*/%<>]=?)\s*$")


@dataclass(slots=True)
class Shape:
    """In what shape a value is read. Without anything it is a string."""

    children: dict[str, Shape] = field(default_factory=dict[str, "Shape"])
    is_list: bool = False
    is_map: bool = False
    wish: str = ""  # "json", "base64", "number"

    def child(self, name: str) -> Shape:
        """The shape of an attribute in it."""
        return self.children.setdefault(name, Shape())


@dataclass(slots=True)
class BlockUsage:
    """What a block is given."""

    attributes: dict[str, str] = field(default_factory=dict[str, str])
    """Each with "string", "list" or "map", as far as it can be told without evaluating it."""
    blocks: dict[str, BlockUsage] = field(default_factory=dict[str, "BlockUsage"])


@dataclass(slots=True)
class KindUsage:
    """A resource or data source: what it is given, and what is read of it."""

    given: BlockUsage = field(default_factory=BlockUsage)
    read: Shape = field(default_factory=Shape)


@dataclass(slots=True)
class Usage:
    """What some files use. Providers are by the name they have in the files."""

    sources: dict[str, str] = field(default_factory=dict[str, str])
    providers: dict[str, BlockUsage] = field(default_factory=dict[str, BlockUsage])
    resources: dict[str, KindUsage] = field(default_factory=dict[str, KindUsage])
    data_sources: dict[str, KindUsage] = field(default_factory=dict[str, KindUsage])
    variables: dict[str, str] = field(default_factory=dict[str, str])
    """Those of the root module without a default, with a value that fits their type."""

    @property
    def addresses(self) -> dict[str, str]:
        """The address of every provider that is not ours, by name."""
        names = {type_.split("_")[0] for type_ in (*self.resources, *self.data_sources)}
        names |= set(self.providers) | set(self.sources)
        return {
            name: self.sources.get(name, f"hashicorp/{name}")
            for name in sorted(names)
            if name not in BUILTIN and self.sources.get(name) != "coder/coder"
        }


def read_usage(directories: Iterable[Path], root: Path) -> Usage:
    """What the `.tf` files in these directories use; variables are those of `root` alone."""
    usage = Usage()
    texts: list[str] = []
    for directory in directories:
        for path in sorted(directory.glob("*.tf")):
            text = path.read_text(encoding="utf-8")
            texts.append(text)
            document = _clean(hcl2.loads(text if text.endswith("\n") else text + "\n"))  # type: ignore[attr-defined]
            _read_file(cast("Mapping[str, Any]", document), usage, is_root=directory == root)
    for text in texts:
        _read_references(text, usage)
    return usage


def _clean(value: Any) -> Any:
    """Names without the quotes they are written in."""
    if isinstance(value, dict):
        pairs = cast("Mapping[str, Any]", value)
        return {key.strip('"'): _clean(each) for key, each in pairs.items()}
    if isinstance(value, list):
        return [_clean(each) for each in cast("list[Any]", value)]
    return value


def _read_file(document: Mapping[str, Any], usage: Usage, *, is_root: bool) -> None:
    for block in document.get("terraform", ()):
        for needed in block.get("required_providers", ()):
            for name, wanted in needed.items():
                if isinstance(wanted, dict) and "source" in wanted:
                    usage.sources[name] = str(cast("Any", wanted)["source"]).strip('"')
    for name, body in _named(document.get("provider", ())):
        if name not in BUILTIN:
            _read_block(body, usage.providers.setdefault(name, BlockUsage()))
    for kinds, section in ((usage.resources, "resource"), (usage.data_sources, "data")):
        for type_, named in _named(document.get(section, ())):
            if type_.split("_")[0] in BUILTIN:
                continue
            for body in named.values():
                _read_block(body, kinds.setdefault(type_, KindUsage()).given)
    for name, body in _named(document.get("variable", ())) if is_root else ():
        if "default" not in body:
            usage.variables[name] = _guess(name, str(body.get("type", "string")))


def _named(blocks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for block in blocks:
        for name, body in block.items():
            if name != "__is_block__":
                yield name, body


def _read_block(body: Mapping[str, Any], into: BlockUsage) -> None:
    for name, value in body.items():
        if name in META or name.startswith("__"):
            continue
        if name == "dynamic":
            for label, generated in _named(value):
                for content in generated.get("content", ()):
                    _read_block(content, into.blocks.setdefault(label, BlockUsage()))
        elif _is_blocks(value):
            for each in value:
                _read_block(each, into.blocks.setdefault(name, BlockUsage()))
        else:
            kind = _tell_type(value)
            if into.attributes.get(name, "string") == "string":
                into.attributes[name] = kind


def _tell_type(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    if isinstance(value, dict):
        return "map"
    text = str(value).removeprefix("${").strip()
    if _IS_LIST.match(text):
        return "list"
    return "map" if _IS_MAP.match(text) else "string"


def _is_blocks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(cast("list[Any]", value))
        and all(
            isinstance(each, dict) and "__is_block__" in each for each in cast("list[Any]", value)
        )
    )


def _guess(name: str, type_: str) -> str:
    type_ = type_.strip('${}" ')
    if type_.startswith(("list", "set", "tuple")):
        return "[]"
    if type_.startswith(("map", "object")):
        return "{}"
    if "uuid" in name:
        return "00000000-0000-4000-8000-000000000001"
    return {"number": "1", "bool": "true"}.get(type_, "stub")


def _read_references(text: str, usage: Usage) -> None:
    for found in _REFERENCE.finditer(text):
        kinds = usage.data_sources if found["data"] else usage.resources
        kind = kinds.get(found["source"] or found["type"])
        steps = list(_STEP.finditer(found["path"]))
        if steps and not steps[0][1]:
            steps = steps[1:]  # the key of an instance
        if kind is None or not steps:
            continue
        shape = kind.read
        for step in steps:
            if step[1]:
                shape = shape.child(step[1])
            elif step[3] is not None and step[3].strip().startswith('"'):
                shape.is_map = True
                shape = shape.child(step[3].strip().strip('"'))
            else:
                shape.is_list = True
        _wish(shape, text[max(0, found.start() - 80) : found.start()])


def _wish(shape: Shape, before: str) -> None:
    """What the function around a reference wants of it."""
    if _TAKES_LIST.search(before):
        shape.is_list = True
    elif _TAKES_MAP.search(before):
        shape.is_map = True
    elif _TAKES_JSON.search(before):
        shape.wish = "json"
    elif _TAKES_BASE64.search(before):
        shape.wish = "base64"
    elif _TAKES_NUMBER.search(before):
        shape.wish = "number"
