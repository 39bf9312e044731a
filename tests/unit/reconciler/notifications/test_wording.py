"""Subjects are one line and texts are bounded, whatever people named their things."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.notifications.kinds import Kind
from reconciler.core.notifications.wording import BODY_CHARS_MAX, SUBJECT_CHARS_MAX, render
from reconciler.core.pools.words import describe_hard_limit

FACTS = {"template": "dev", "preset": "standard", "version": "v1", "workspace": "mine"}


def test_every_kind_has_words_of_its_own() -> None:
    subjects = {render(kind, "what happened", "default", FACTS).subject for kind in Kind}
    assert len(subjects) == len(Kind)
    assert not any("?" in subject for subject in subjects)


def test_what_an_admin_reads() -> None:
    words = render(Kind.POOL_HARD_LIMITED, "3 builds in a row failed", "default", FACTS)
    assert words.subject == 'Pool "standard" of template "dev" stopped'
    assert words.body == (
        "3 builds in a row failed\n\n"
        "See the error with `warmpool pool list --template dev`. Mend it and push a new version,"
        " or let the pool try again with `warmpool pool resume dev standard`.\n\n"
        "Organization: default"
    )


def test_the_post_that_the_documentation_shows_is_one_that_is_sent() -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "notifications.md"
    shown = json.loads(page.read_text().partition("```json")[2].partition("```")[0])
    told = describe_hard_limit(3, is_by_losses=False)
    rendered = render(shown["kind"], told, shown["organization"], shown["facts"])
    assert shown["subject"] == rendered.subject
    begin, _, end = shown["body"].partition("…")
    assert (end, rendered.body.startswith(f"{told}\n\n"), begin) == ("", True, f"{told}\n\n")


def test_a_row_of_another_release_is_told_with_what_it_has() -> None:
    old = render(Kind.POOL_HARD_LIMITED, "it stopped", "default", {})
    assert old.subject == 'Pool "?" of template "?" stopped'
    newer = render("moon.landed", "it did", "default", {"moon": "ours"})
    assert (newer.subject, newer.body) == (
        "Warmpool: moon.landed",
        "it did\n\nOrganization: default",
    )


def test_a_name_can_inject_no_header() -> None:
    evil = "x\r\nBcc: everybody@example.org\n\n<b>hi</b>\u2028{organization}"
    words = render(Kind.POOL_HARD_LIMITED, f"broke: {evil}", evil, FACTS | {"preset": evil})
    assert words.subject == (
        'Pool "x Bcc: everybody@example.org <b>hi</b> {organization}" of template "dev" stopped'
    )


def test_a_huge_text_is_cut() -> None:
    words = render(Kind.CLAIM_FAILED, "x" * 5_000_000, "default", {"workspace": "w" * 5_000_000})
    assert len(words.subject) <= SUBJECT_CHARS_MAX
    assert BODY_CHARS_MAX <= len(words.body) <= BODY_CHARS_MAX + 500
    assert "…" in words.body


ANY = st.text(st.characters(codec=None), max_size=400)


@given(kind=st.sampled_from([*Kind, "odd\nkind"]), message=ANY, organization=ANY, fact=ANY)
def test_nothing_breaks_a_subject_or_a_text(
    kind: str, message: str, organization: str, fact: str
) -> None:
    words = render(kind, message, organization, dict.fromkeys(FACTS, fact))
    assert len(words.subject) <= SUBJECT_CHARS_MAX
    assert words.subject.isprintable() or all(not c.isspace() or c == " " for c in words.subject)
    assert "\n" not in words.subject
    assert "\r" not in words.subject + words.body
    words.subject.encode()
    words.body.encode()
