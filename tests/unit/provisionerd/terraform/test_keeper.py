"""When a tfstate file is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisionerd.terraform.keeper import TfstateKeeper

WHOLE = b'{"version": 4, "serial": 1, "lineage": "l", "resources": []}'
NEWER = b'{"version": 4, "serial": 2, "lineage": "l", "resources": []}'


@pytest.mark.parametrize("before", [None, WHOLE], ids=["new", "old"])
async def test_a_file_is_at_rest_when_it_is_untouched_or_whole(
    tmp_path: Path, before: bytes | None
) -> None:
    kept: list[bytes] = []

    async def keep(tfstate: bytes) -> None:
        kept.append(tfstate)

    file = tmp_path / "terraform.tfstate"
    keeper = TfstateKeeper(file, before, keep)
    keeper.write_first()
    assert keeper.is_at_rest()

    for content, at_rest in ((b"", False), (NEWER[:20], False), (NEWER, True)):
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))  # a coarse clock must not hide the write
        assert keeper.is_at_rest() is at_rest
        assert await keeper.keep_newer() is at_rest
    assert kept == [NEWER]
