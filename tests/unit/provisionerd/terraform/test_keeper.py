"""When a tfstate file is whole, and which are handed on while Terraform runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provisionerd.terraform.events import read
from provisionerd.terraform.keeper import SOURCE_DIR, TfstateKeeper
from provisionerd.terraform.tfstate import read_tfstate

WHOLE = b'{"version": 4, "serial": 1, "lineage": "l", "resources": []}'
NEWER = b'{"version": 4, "serial": 2, "lineage": "l", "resources": []}'


@pytest.mark.parametrize("before", [None, WHOLE], ids=["new", "old"])
async def test_a_file_is_at_rest_when_it_is_untouched_or_whole(
    tmp_path: Path, before: bytes | None
) -> None:
    kept: list[bytes] = []

    async def keep(tfstate: bytes) -> None:
        kept.append(tfstate)

    file = tmp_path / SOURCE_DIR / "terraform.tfstate"
    file.parent.mkdir()
    keeper = TfstateKeeper(tmp_path, before, keep)
    keeper.write_first()
    assert keeper.is_at_rest()

    for content, at_rest in ((b"", False), (NEWER[:20], False), (NEWER, True)):
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))  # a coarse clock must not hide the write
        assert keeper.is_at_rest() is at_rest
        assert await keeper.keep_newer() is at_rest
    assert kept == [NEWER]


def says(type_: str, action: str = "create") -> str:
    hook = {"resource": {"addr": "cloud_vm.one"}, "action": action}
    return json.dumps({"@message": type_, "type": type_, "hook": hook})


@pytest.mark.parametrize("end", ["its own word", "terraform's end"])
async def test_an_end_that_is_heard_late_is_kept_although_the_file_stays(
    tmp_path: Path, end: str
) -> None:
    kept: list[bytes] = []

    async def keep(content: bytes) -> None:
        kept.append(content)

    (tmp_path / SOURCE_DIR).mkdir()
    keeper = TfstateKeeper(tmp_path, None, keep)
    keeper.write_first()
    # GIVEN a tfstate that was written at the very end, before that was heard
    keeper.take(read(says("apply_start")))
    instances = [{"attributes": {"id": "a"}}]
    vm = {"mode": "managed", "type": "cloud_vm", "name": "one", "instances": instances}
    content = json.dumps({"version": 4, "lineage": "l", "resources": [vm]}).encode()
    (tmp_path / SOURCE_DIR / "terraform.tfstate").write_bytes(content)
    assert await keeper.keep_newer()
    # WHEN it is
    if end == "its own word":
        keeper.take(read(says("apply_complete")))
    else:
        keeper.finish()
    await keeper.keep_last(lambda reason: None)
    # THEN what was marked is so no more
    assert [each.tainted for each in read_tfstate(kept[0]).managed] == [True]
    assert kept[1:] == [content]
