"""Copies a template into a job's working directory: nothing is written beside the original.

Promises: the copy has the same bytes; left-overs of somebody's own runs (`.terraform`, tfstate,
plan files) stay behind; the original is only read. The key names the content: two templates with
the same files share what `terraform init` installs.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from provisionerd.core.errors import TemplateInvalid

__all__ = ["Overlay", "copy_template", "scan", "strip_comments"]

_BACKEND_OVERRIDE = "zz_warmpool_backend_override.tf"
_COMMENT = re.compile(r"/\*.*?\*/|^\s*(?:#|//)[^\n]*", re.DOTALL | re.MULTILINE)
_MODULE = re.compile(r'^\s*module\s+"', re.MULTILINE)
_TYPE = re.compile(r'^\s*(?:resource|data|ephemeral)\s+"([a-z0-9_-]+)"', re.MULTILINE)
_SOURCE = re.compile(r'\bsource\s*=\s*"([^"]+)"')
_PROVIDER = re.compile(r'^\s*provider\s+"([a-z0-9_-]+)"', re.MULTILINE)
_BACKEND = re.compile(r'^\s*(?:backend\s+"[^"]*"|cloud)\s*\{', re.MULTILINE)
_BUILTIN = frozenset({"coder", "terraform"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A copied template. `needs_init` says that it uses modules or providers that are not ours."""

    source_dir: Path
    key: str
    needs_init: bool


def copy_template(template_dir: Path, source_dir: Path) -> Overlay:
    """Copies and looks. Blocking: call it in a thread."""
    if not template_dir.is_dir():
        raise TemplateInvalid(f"{template_dir.name}: the template is not a directory")
    shutil.copytree(template_dir, source_dir, symlinks=True, ignore=_ignore)
    digest = hashlib.sha256()
    texts: list[str] = []
    for path in sorted(source_dir.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        name = path.relative_to(source_dir).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
        if path.parent == source_dir and path.suffix == ".tf":
            texts.append(content.decode("utf-8", "replace"))
    names = [path.name for path in source_dir.iterdir()]
    if not any(name.endswith((".tf", ".tf.json", ".tofu", ".tofu.json")) for name in names):
        raise TemplateInvalid("the template has no .tf file; its top directory must have one")
    needs_init, has_backend = scan("\n".join(texts))
    if has_backend:  # where a template keeps its tfstate is not its own choice here
        override = source_dir / _BACKEND_OVERRIDE
        override.write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
    other_syntax = any(name.endswith((".json", ".tofu")) for name in names)
    return Overlay(
        source_dir=source_dir,
        key=digest.hexdigest(),
        needs_init=needs_init or has_backend or other_syntax,
    )


def scan(hcl: str) -> tuple[bool, bool]:
    """Whether the text needs `terraform init`, and whether it names a backend.

    A glance, not a parser: a false yes costs one init, a false no is found when terraform says what
    is missing.
    """
    code = strip_comments(hcl)
    providers = {type_.split("_")[0] for type_ in _TYPE.findall(code)}
    providers |= set(_PROVIDER.findall(code))
    foreign = any(
        source.lower().removeprefix("registry.terraform.io/") != "coder/coder"
        and not source.startswith("terraform.io/builtin/")
        for source in _SOURCE.findall(code)
    )
    has_backend = _BACKEND.search(hcl) is not None  # in a comment too: a miss would be worse
    has_module = _MODULE.search(code) is not None
    return has_module or foreign or not providers <= _BUILTIN, has_backend


def strip_comments(hcl: str) -> str:
    """The text without what looks like a comment."""
    return _COMMENT.sub("", hcl)


def _ignore(directory: str, names: list[str]) -> list[str]:
    del directory
    return [
        name
        for name in names
        if name in (".terraform", ".git")
        or name.endswith((".tfstate", ".tfstate.backup", ".tfplan"))
        or name.startswith(".terraform.tfstate.lock")
    ]
