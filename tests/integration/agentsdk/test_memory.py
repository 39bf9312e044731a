"""The memory file: all or nothing, one token's, the owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsdk.memory import NOTHING, ClaimProgress, ClaimRecord, MemoryFile

pytestmark = pytest.mark.integration

RECORD = ClaimRecord(claim_id="claim-1", owner_id="alice", progress=ClaimProgress.APPLYING)


def test_what_was_saved_is_remembered(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "made", "token")
    file.save(RECORD)
    assert file.load() == RECORD
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(file.path.parent.iterdir()) == [file.path]


def test_another_tokens_memory_is_nothing(tmp_path: Path) -> None:
    MemoryFile(tmp_path, "old token").save(RECORD)
    assert MemoryFile(tmp_path, "token").load() == NOTHING


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"[" * 60_000,
        b'{"token_fingerprint": "token", "claim_id": 1, "owner_id": "", "progress": "applied"}',
        b'{"token_fingerprint": "token", "claim_id": "", "owner_id": "", "progress": "later"}',
        b'{"token_fingerprint": "token", "claim_id": "", "owner_id": "", "progress": {}}',
        b" " * 100_000 + b"{}",
    ],
)
def test_a_damaged_file_is_nothing_and_is_replaced(content: bytes, tmp_path: Path) -> None:
    file = MemoryFile(tmp_path, "token")
    file.path.write_bytes(content)
    assert file.load() == NOTHING
    file.save(RECORD)
    assert file.load() == RECORD
