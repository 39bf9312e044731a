"""Bytes become lines of a bounded length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentsdk.script_logs import LineSplitter


def split(chunks: list[bytes], line_bytes_max: int) -> list[str]:
    splitter = LineSplitter(line_bytes_max)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.finish()]


def test_lines_are_put_together_from_pieces() -> None:
    assert split([b"on", b"e\ntw", b"o\r\n\nthr", b"ee"], 100) == ["one", "two", "", "three"]


def test_long_lines_are_cut() -> None:
    assert split([b"abcdefgh\nij\n"], 3) == ["abc", "def", "gh", "ij"]
    assert split([b"abcd", b"efgh", b"\n"], 3) == ["abc", "def", "gh"]


def test_what_is_no_text_is_made_text() -> None:
    assert split([b"a\xff\0b\n"], 100) == ["a\ufffdb"]


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 9))
def test_no_line_is_longer_than_allowed_and_nothing_is_lost(
    chunks: list[bytes], line_bytes_max: int
) -> None:
    letters = [bytes(97 + byte % 5 if byte % 7 else 10 for byte in chunk) for chunk in chunks]
    lines = split(letters, line_bytes_max)
    assert all(len(line) <= line_bytes_max for line in lines)
    assert "".join(lines).encode() == b"".join(letters).replace(b"\n", b"")
