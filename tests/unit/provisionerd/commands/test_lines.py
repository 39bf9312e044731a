"""Bytes in any pieces become the same bounded lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from provisionerd.commands.lines import CUT_MARK, LineSplitter, Tail


def _split(pieces: list[bytes], line_bytes_max: int = 64) -> list[str]:
    splitter = LineSplitter(line_bytes_max)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return [*lines, *splitter.finish()]


def test_a_line_may_come_in_pieces_and_pieces_may_hold_lines() -> None:
    assert _split([b"on", b"e\ntwo\r\nth", b"ree"]) == ["one", "two", "three"]


def test_a_line_that_is_too_long_is_cut_once_and_the_next_one_is_whole() -> None:
    assert _split([b"abcdef", b"ghi", b"jkl\nnext\n"], 8) == ["abcdefgh" + CUT_MARK, "next"]


def test_bytes_that_are_not_text_do_not_stop_it() -> None:
    assert _split([b"\xff\xfe!\n"]) == ["\ufffd\ufffd!"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_where_the_pieces_end_does_not_matter(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[start:end] for start, end in pairwise(edges)]
    assert _split(pieces, 16) == _split([content], 16)


def test_a_tail_keeps_the_last_lines() -> None:
    tail = Tail(2)
    for line in ("a", "b", "c"):
        tail.add(line)
    assert tail.lines == ("b", "c")
