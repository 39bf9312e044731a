"""Secrets are known before a line is shown, also while terraform writes its tfstate."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from provisionerd.terraform.keeper import SOURCE_DIR, TfstateKeeper
from provisionerd.terraform.mask import MASK, Masker
from provisionerd.terraform.protection import TFSTATE_FILE
from provisionerd.terraform.secrets import SecretReader

SECRET = "a-token-that-was-just-made"
TFSTATE = json.dumps(
    {
        "version": 4,
        "serial": 1,
        "lineage": "l",
        "resources": [
            {
                "mode": "managed",
                "type": "coder_agent",
                "name": "main",
                "instances": [{"attributes": {"id": "1", "token": SECRET}}],
            }
        ],
    }
).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    source_dir = tmp_path / SOURCE_DIR
    source_dir.mkdir()
    return source_dir / TFSTATE_FILE


def _reader(tmp_path: Path) -> tuple[SecretReader, Masker]:
    async def keep(_: bytes) -> None:
        pytest.fail("nothing is kept here")

    keeper, masker = TfstateKeeper(tmp_path, None, keep), Masker()
    keeper.write_first()
    return SecretReader(keeper, masker), masker


@pytest.mark.parametrize("begun", [b"", TFSTATE[:30]], ids=["truncated", "half"])
def test_a_half_written_tfstate_is_waited_for(tmp_path: Path, file: Path, begun: bytes) -> None:
    read, masker = _reader(tmp_path)
    assert read()
    file.write_bytes(b"x")  # so that the clock need not move for what comes to differ
    file.write_bytes(begun)
    completion = threading.Timer(0.01, lambda: file.write_bytes(TFSTATE))
    completion.start()
    try:
        assert read()
    finally:
        completion.join()
    assert masker.hide(f"fresh {SECRET}") == f"fresh {MASK}"


def test_a_tfstate_that_stays_torn_is_waited_for_once(tmp_path: Path, file: Path) -> None:
    read, masker = _reader(tmp_path)
    file.write_bytes(TFSTATE[:30])
    assert [read(), read()] == [False, False]
    file.write_bytes(TFSTATE)
    assert read()
    assert masker.hide(SECRET) == MASK
