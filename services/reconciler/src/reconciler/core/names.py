"""Names people give, and names we make up."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from svckit.errors import InvalidArgument

__all__ = ["check_name", "make_name", "prebuild_name"]

LENGTH_MAX: Final = 32
_LABEL: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
_ADJECTIVES: Final = (
    "amber", "brave", "calm", "clear", "crisp", "eager", "fair", "fleet",
    "glad", "keen", "kind", "light", "lucky", "merry", "neat", "noble",
    "proud", "quick", "quiet", "rapid", "ready", "sharp", "smart", "snug",
    "solid", "still", "sunny", "swift", "tidy", "vivid", "warm", "wise",
)  # fmt: skip
_NOUNS: Final = (
    "badger", "beaver", "bison", "crane", "dingo", "eagle", "falcon", "finch",
    "gecko", "heron", "ibis", "jaguar", "koala", "lemur", "lynx", "marten",
    "newt", "ocelot", "otter", "owl", "panda", "pika", "puffin", "raven",
    "robin", "seal", "stork", "tapir", "tern", "viper", "wombat", "wren",
)  # fmt: skip


def check_name(name: str, field: str = "name") -> str:
    """The name, or InvalidArgument that says what is allowed."""
    if len(name) > LENGTH_MAX or not _LABEL.fullmatch(name):
        raise InvalidArgument(
            f'{field}: "{name[:64]}" is not allowed; use 1 to {LENGTH_MAX} of a-z, 0-9 and single'
            " hyphens, not at either end",
            reason="NAME_INVALID",
            field=field,
        )
    return name


def make_name(seed: UUID) -> str:
    """A name for somebody who gave none; another seed gives another one, nearly always."""
    n = seed.int
    adjective = _ADJECTIVES[n % len(_ADJECTIVES)]
    noun = _NOUNS[n // 64 % len(_NOUNS)]
    return f"{adjective}-{noun}-{n // 4096 % 9000 + 1000}"


def prebuild_name(workspace_id: UUID) -> str:
    """What a workspace is called while the pool owns it."""
    return f"prebuild-{workspace_id.hex[:16]}"
