"""The worker's key can be exchanged without a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisionerd.wiring.keyfile import KeyFile
from svckit.errors import StartFailed

pytestmark = pytest.mark.integration


def test_a_new_key_is_used_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    key = KeyFile(file)
    assert key() == "one"
    file.write_text("two\n")
    os.utime(file, ns=(1, 1))
    assert key() == "two"


def test_a_key_that_is_gone_for_a_moment_stays_in_use(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    key = KeyFile(file)
    file.unlink()
    assert key() == "one"
    file.write_text("")
    os.utime(file, ns=(1, 1))
    assert key() == "one"


def test_a_worker_without_a_key_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="cannot read the key file"):
        KeyFile(tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    with pytest.raises(StartFailed, match="is empty; it must hold this worker's key"):
        KeyFile(tmp_path / "empty")
