"""Which version a program has, whatever it says, and though it cannot be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisionerd.wiring.programs import UNKNOWN, Programs
from provisionerd.wiring.settings import ProvisionerdSettings

SAYS_IT = "#!/bin/sh\necho '" + json.dumps({"terraform_version": "1.11.4"}) + "'\n"


def programs_of(place: Path, text: str) -> Programs:
    """A worker whose terraform is this file."""
    binary = place / "terraform"
    binary.write_text(text)
    binary.chmod(0o755)
    settings = ProvisionerdSettings.model_validate(
        {
            "reconciler_address": "127.0.0.1:1",
            "key_file": place / "key",
            "data_dir": place,
            "terraform_path": str(binary),
        }
    )
    return Programs(settings)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (SAYS_IT, "1.11.4 (terraform)"),
        ("#!/bin/sh\necho '[]'\n", UNKNOWN),
        ("#!/bin/sh\necho '{}'\n", UNKNOWN),
        ("#!/bin/sh\necho no\n", UNKNOWN),
        ("#!/bin/sh\nexit 3\n", UNKNOWN),
        ("#!/nowhere/sh\n", UNKNOWN),  # no such interpreter
        ("\0\0\0\0", UNKNOWN),  # half of a file that is being copied
    ],
)
async def test_a_version_is_found_or_not_known(tmp_path: Path, text: str, version: str) -> None:
    assert await programs_of(tmp_path, text).find() == {"terraform": version}


async def test_a_program_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    programs = programs_of(tmp_path, SAYS_IT)
    (tmp_path / "terraform").unlink()
    assert await programs.find() == {"terraform": ""}
