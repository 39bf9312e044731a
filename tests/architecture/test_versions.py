"""One version: of every member, of the images, of the newest release in the changelog."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = sorted([*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")])
PAGES = ("deploy/Dockerfile", "deploy/compose.yaml", "docs/deployment.md")
_HEADING = re.compile(r"^## \[(.+?)\](?: - (.+))?$", re.M)
_IMAGE = re.compile(r"warmpool/[a-z]+:(\d[\w.]*)|newTag: (\S+?)\}")


def _version(member: Path) -> str:
    version: str = tomllib.loads(member.read_text(encoding="utf-8"))["project"]["version"]
    return version


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


VERSION = _version(MEMBERS[0])


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.parent.name)
def test_every_member_has_the_version(member: Path) -> None:
    assert _version(member) == VERSION


def test_every_image_has_the_version() -> None:
    files = [ROOT / page for page in PAGES]
    files += sorted((ROOT / "deploy/kubernetes").rglob("kustomization.yaml"))
    found = {
        (path.relative_to(ROOT).as_posix(), tag or other)
        for path in files
        for tag, other in _IMAGE.findall(path.read_text(encoding="utf-8"))
    }
    assert {path for path, _ in found} >= {*PAGES}
    assert {tag for _, tag in found} == {VERSION}


def test_the_version_is_the_newest_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [(name, day) for name, day in _HEADING.findall(text) if name != "Unreleased"]
    versions = [name for name, _ in headings]

    assert versions[0] == VERSION
    assert versions == sorted(set(versions), key=_ordered, reverse=True)
    assert "## [Unreleased]" in text
    days = [date.fromisoformat(day) for _, day in headings]
    assert days == sorted(days, reverse=True)


def test_the_changelog_says_nothing_twice() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    said = [" ".join(each.split()) for each in re.split(r"^(?:- |#.*$)", text, flags=re.M)]
    said = [each for each in said if each]
    assert [each for each in said if said.count(each) > 1] == []


def test_the_version_is_newer_than_the_release_it_lives_with() -> None:
    table = tomllib.loads((ROOT / "tests/skew/releases.toml").read_text(encoding="utf-8"))
    released = [_ordered(version) for version in table["releases"]]

    assert released == sorted(released)
    assert _ordered(VERSION) > released[-1]
    page = (ROOT / "docs/upgrades.md").read_text(encoding="utf-8")
    now, before = (".".join(map(str, each[:2])) for each in (_ordered(VERSION), released[-1]))
    assert f"\n| {now} | {before} |" in page
