"""What a template wants done when a claim would replace a resource, and how a resource is spared.

A template says so in a `warmpool.toml` beside its `.tf` files:

    [claims]
    replacements = "protect"

`allow`, the default, replaces and reports. `fail` ends the claim build before anything is changed.
`protect` makes Terraform ignore every change of the resources the claim would replace, by an
override file beside the template. It must stay in force as long as the resource lives, or the next
start would replace it after all: so the names are kept in the tfstate, as a key of our own that
Terraform passes over, and are forgotten when their resource is gone.

Promises: a resource the template no longer declares is never named in the override, for Terraform
would refuse that; what cannot be spared (it is in a module, or is written as JSON) is reported as
replaced. Pure but for the files in the job's own directory.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from provisionerd.core.errors import TemplateInvalid
from provisionerd.terraform.events import PlannedChange
from provisionerd.terraform.jsonvalues import mapping, sequence
from provisionerd.terraform.overlay import strip_comments

__all__ = [
    "SETTINGS_FILE",
    "TFSTATE_FILE",
    "Protection",
    "ReplacementPolicy",
    "embed_names",
    "list_replaced",
    "read_override",
    "read_policy",
]

TFSTATE_FILE = "terraform.tfstate"
SETTINGS_FILE = "warmpool.toml"
OVERRIDE_FILE = "zz_warmpool_claim_override.tf.json"
_KNOWN = frozenset({"replacements"})
_KEY = "warmpool_protected"
_EMBEDDED = re.compile(rb'\A\{"%s": \[[^]]*\],' % _KEY.encode())
_RESOURCE = re.compile(r'^\s*resource\s+"([\w-]+)"\s+"([\w-]+)"', re.MULTILINE)
_ADDRESS = re.compile(r"([\w-]+\.[\w-]+)(\[.*\])?", re.DOTALL)


class ReplacementPolicy(Enum):
    """What happens to a claim that would replace a resource."""

    ALLOW = "allow"
    FAIL = "fail"
    PROTECT = "protect"


def read_policy(template_dir: Path) -> ReplacementPolicy:
    """The template's wish; raises TemplateInvalid for a file that says anything else."""
    try:
        document: Mapping[str, object] = tomllib.loads(
            (template_dir / SETTINGS_FILE).read_text(encoding="utf-8")
        )
    except FileNotFoundError:
        return ReplacementPolicy.ALLOW
    except ValueError as error:
        raise TemplateInvalid(f"{SETTINGS_FILE}: {error}") from error
    claims = mapping(document.get("claims"))
    unknown = sorted({*document} - {"claims"} | {f"claims.{each}" for each in {*claims} - _KNOWN})
    if unknown:
        raise TemplateInvalid(
            f"{SETTINGS_FILE}: {unknown[0]}: unknown; a Terraform template may set"
            " claims.replacements"
        )
    wish = claims.get("replacements", ReplacementPolicy.ALLOW.value)
    try:
        return ReplacementPolicy(wish)
    except ValueError:
        allowed = ", ".join(policy.value for policy in ReplacementPolicy)
        raise TemplateInvalid(
            f"{SETTINGS_FILE}: claims.replacements: {wish!r} is none of {allowed}"
        ) from None


def list_replaced(planned: Iterable[PlannedChange]) -> tuple[str, ...]:
    """Addresses of the resources a plan replaces, but `coder_*`, which are told again anyway."""
    return tuple(
        change.address
        for change in planned
        if change.action == "replace" and not change.resource_type.startswith("coder_")
    )


class Protection:
    """The resources of one workspace that are spared, in the directory its template is built in."""

    def __init__(self, source_dir: Path, tfstate: bytes | None, living: Iterable[str]) -> None:
        """`living` are the resources in `tfstate`, without instance keys."""
        self._source_dir = source_dir
        self._declared: frozenset[str] = frozenset()
        self.names = _read_names(tfstate) & frozenset(living)

    def begin(self) -> None:
        """The template is in place: spares what it still declares."""
        self._declared = _read_declared(self._source_dir)
        self.names &= self._declared
        self._write()

    def add(self, addresses: Iterable[str]) -> frozenset[str]:
        """Spares more; returns those that were not spared before and can be."""
        matches = (_ADDRESS.fullmatch(address) for address in addresses)
        added = frozenset(match[1] for match in matches if match) & self._declared - self.names
        if added:
            self.names |= added
            self._write()
            file = self._source_dir / TFSTATE_FILE
            file.write_bytes(self.embed(file.read_bytes()))  # terraform may find nothing to write
        return added

    def embed(self, tfstate: bytes) -> bytes:
        """The tfstate with the names in it."""
        return embed_names(tfstate, self.names)

    def _write(self) -> None:
        if not self.names:
            return
        resources: dict[str, dict[str, object]] = {}
        for name in sorted(self.names):
            type_, _, local = name.partition(".")
            spared = {"lifecycle": {"ignore_changes": "all"}}
            resources.setdefault(type_, {})[local] = spared
        text = json.dumps({"resource": resources})
        (self._source_dir / OVERRIDE_FILE).write_text(text, encoding="utf-8")


def embed_names(tfstate: bytes, names: Iterable[str]) -> bytes:
    """A tfstate with these names of spared resources in it and no others. The rest stays as it is,
    to the digit.
    """
    rest = _EMBEDDED.sub(b"{", tfstate, count=1)
    listed = sorted(names)
    if not listed or not rest.startswith(b"{"):
        return rest
    return b'{"%s": %s,' % (_KEY.encode(), json.dumps(listed).encode()) + rest[1:]


def read_override(source_dir: Path) -> frozenset[str]:
    """The names in the override a job left behind."""
    try:
        text = (source_dir / OVERRIDE_FILE).read_text(encoding="utf-8")
        resources = mapping(mapping(json.loads(text)).get("resource"))
    except (FileNotFoundError, ValueError):
        return frozenset()
    return frozenset(
        f"{type_}.{name}" for type_, named in resources.items() for name in mapping(named)
    )


def _read_names(tfstate: bytes | None) -> frozenset[str]:
    if not tfstate or _KEY.encode() not in tfstate:
        return frozenset()
    names = sequence(mapping(json.loads(tfstate)).get(_KEY))
    return frozenset(name for name in names if isinstance(name, str))


def _read_declared(source_dir: Path) -> frozenset[str]:
    texts = (path.read_text("utf-8", "replace") for path in sorted(source_dir.glob("*.tf")))
    found = (_RESOURCE.findall(strip_comments(text)) for text in texts)
    return frozenset(f"{type_}.{name}" for pairs in found for type_, name in pairs)
