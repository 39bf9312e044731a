"""What an earlier process left running is ended between two writes, not amid one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provisionerd.store.orphans import end_orphans
from testkit.eventually import eventually

pytestmark = pytest.mark.integration

WRITER = "while :; do printf half > file; sleep 0.02; printf -- -whole >> file; sleep 0.01; done"


def start(directory: Path, command: str) -> tuple[subprocess.Popen[bytes], frozenset[str]]:
    """A shell that leads a session of its own, and the name of its program."""
    shell = shutil.which("sh")
    assert shell is not None
    process = subprocess.Popen([shell, "-c", command], cwd=directory, start_new_session=True)
    return process, frozenset({Path(shell).resolve().name})


async def test_a_file_that_is_being_written_is_whole_when_its_writer_is_gone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"

    def is_whole() -> bool:
        return file.read_text() == "half-whole"

    for _ in range(8):
        file.write_text("")
        writer, programs = start(tmp_path, WRITER)

        def look() -> None:
            assert file.read_text()

        await eventually(look)
        assert end_orphans(tmp_path, programs, is_whole) == 1
        assert writer.wait(20) < 0
        assert is_whole()


async def test_one_that_never_comes_to_rest_is_ended_all_the_same(tmp_path: Path) -> None:
    writer, programs = start(tmp_path, "sleep 600; :")

    def look() -> None:
        assert end_orphans(tmp_path, programs, lambda: False) == 1

    await eventually(look)
    assert writer.wait(20) < 0
