"""Subjects carry UUIDs and nothing else."""

from __future__ import annotations

from uuid import UUID

import pytest

from bus import subjects
from bus.api import check_pattern, check_subject, matches
from bus.errors import SubjectInvalid

WORKSPACE = UUID("6f1c1bc2-98a3-4cc7-9f4e-6f5ee0c5b000")


def test_every_subject_is_covered_by_its_wildcard_and_read_back() -> None:
    built = {
        subjects.claims_subject(WORKSPACE): (subjects.CLAIMS_ALL, subjects.parse_claims_subject),
        subjects.jobs_posted_subject(WORKSPACE): (
            subjects.JOBS_POSTED_ALL,
            subjects.parse_jobs_posted_subject,
        ),
        subjects.pools_changed_subject(WORKSPACE): (
            subjects.POOLS_CHANGED_ALL,
            subjects.parse_pools_changed_subject,
        ),
        subjects.workspaces_changed_subject(WORKSPACE): (
            subjects.WORKSPACES_CHANGED_ALL,
            subjects.parse_workspaces_changed_subject,
        ),
    }
    assert len(built) == 4
    for subject, (pattern, parse) in built.items():
        check_subject(subject)
        check_pattern(pattern)
        assert matches(pattern, subject)
        assert parse(subject) == str(WORKSPACE)


def test_the_claims_subject_is_the_one_deployed_peers_know() -> None:
    assert subjects.claims_subject(WORKSPACE) == f"warmpool.v1.claims.{WORKSPACE}"


def test_an_identifier_in_capitals_names_the_same_subject() -> None:
    assert subjects.claims_subject(str(WORKSPACE).upper()) == subjects.claims_subject(WORKSPACE)


@pytest.mark.parametrize(
    "identifier",
    ["", "*", ">", "a.b", "6f1c1bc298a34cc79f4e6f5ee0c5b000", f"{WORKSPACE} ", f"{{{WORKSPACE}}}"],
)
def test_what_is_no_uuid_makes_no_subject(identifier: str) -> None:
    with pytest.raises(SubjectInvalid, match="must be a UUID"):
        subjects.claims_subject(identifier)


@pytest.mark.parametrize(
    "subject", ["", "warmpool.v1.claims", "warmpool.v1.claims.x", f"other.{WORKSPACE}"]
)
def test_what_is_no_claims_subject_is_not_read_as_one(subject: str) -> None:
    with pytest.raises(SubjectInvalid):
        subjects.parse_claims_subject(subject)


@pytest.mark.parametrize(
    "subject", ["", "a..b", "a.*", "a.>", "a b", "a\r\nPUB b 0", "é", "a" * 256]
)
def test_nobody_publishes_to_a_wildcard_or_a_malformed_subject(subject: str) -> None:
    with pytest.raises(SubjectInvalid):
        check_subject(subject)


@pytest.mark.parametrize("pattern", ["", ">", "a.>.b", "a.*b", "a..b", "a b"])
def test_nobody_listens_to_a_malformed_pattern(pattern: str) -> None:
    with pytest.raises(SubjectInvalid):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*.c", "a.b.c", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
    ],
)
def test_patterns_match_as_the_server_matches_them(
    pattern: str, subject: str, expected: bool
) -> None:
    assert matches(pattern, subject) is expected
