"""The release before this one, taken from the history, and a place to run it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from testkit.releases import Code, check_out, read_previous


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Code:
    """Its code; an error, never a skip, if it is not to be had."""
    release = read_previous(Path(__file__).with_name("releases.toml"))
    return check_out(release, tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def short_directory() -> Generator[Path]:
    """A directory whose path is short enough for the socket of Postgres."""
    directory = Path(tempfile.mkdtemp(prefix="warmpool-skew-"))
    yield directory
    shutil.rmtree(directory)
