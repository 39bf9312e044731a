"""What a notification says: a subject, and a text that tells what happened and what can be done.

Names and errors come from people and their templates. A subject is one line of bounded length
whatever they hold; a text is cut where it grows too long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.core.notifications.kinds import Kind

__all__ = ["BODY_CHARS_MAX", "SUBJECT_CHARS_MAX", "Rendered", "one_line", "render"]

SUBJECT_CHARS_MAX: Final = 160
FACT_CHARS_MAX: Final = 100
BODY_CHARS_MAX: Final = 16_000
_NOT_ONE_LINE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    Kind.POOL_HARD_LIMITED: (
        'Pool "{preset}" of template "{template}" stopped',
        "See the error with `warmpool pool list --template {template}`. Mend it and push a"
        " new version, or let the pool try again with `warmpool pool resume {template} {preset}`.",
    ),
    Kind.POOL_VALIDATION_FAILED: (
        'Pool "{preset}" of template "{template}" waits for a new version',
        "No retry can mend this. Correct the template or the preset's values and push a new"
        " version.",
    ),
    Kind.CLAIM_RESOURCES_REPLACED: (
        'A claim of template "{template}" replaced what its pool had warmed',
        "Whoever claims from this pool waits for the replacement. This is told once a day for each"
        " preset; the build's log has each claim.",
    ),
    Kind.CLAIM_WOULD_REPLACE: (
        'Claims of template "{template}" would replace what its pool has warmed',
        "Nobody was hit yet. Mend the template and push a new version.",
    ),
    Kind.CLAIM_FAILED: (
        'Your workspace "{workspace}" could not be made yours',
        "Look why with `warmpool logs {workspace}`; `warmpool start {workspace}` tries again.",
    ),
    Kind.PROVISIONERS_MISSING: (
        'Jobs wait in "{organization}": no provisioner takes them',
        "Start a provisionerd of that type and with those tags, or look into the log of the one"
        " there is. `warmpool doctor` lists those that are connected.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A notification in words."""

    subject: str
    body: str


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"  # written by a release that did not keep it


def render(kind: str, message: str, organization: str, facts: Mapping[str, str]) -> Rendered:
    """The words of a notification. A kind this release does not know has its message alone."""
    subject, advice = _WORDS.get(kind, (f"Warmpool: {kind}", ""))
    known = _Facts({name: one_line(value, FACT_CHARS_MAX) for name, value in facts.items()})
    known["organization"] = one_line(organization, FACT_CHARS_MAX)
    parts = [_cut(_NOT_TEXT.sub("", message), BODY_CHARS_MAX)]
    if advice:
        parts.append(advice.format_map(known))
    parts.append(f"Organization: {known['organization']}")
    return Rendered(
        subject=one_line(subject.format_map(known), SUBJECT_CHARS_MAX), body="\n\n".join(parts)
    )


def one_line(text: str, chars_max: int) -> str:
    """The text in one line, cut to that length."""
    return _cut(_NOT_ONE_LINE.sub(" ", text[: 4 * chars_max]).strip(), chars_max)


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"
