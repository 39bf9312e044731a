"""Log lines keep their order and their bounds, and nothing is lost in silence."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from provisionerd.core.jobs import LogLine
from provisionerd.core.logbuffer import BATCH_LINES_MAX, LINE_BYTES_MAX, LogBuffer
from provisionerd.core.provisioner import Level

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def add(buffer: LogBuffer, *texts: str) -> None:
    for text in texts:
        buffer.add(NOW, Level.INFO, "apply", text)


def texts(buffer: LogBuffer) -> list[str]:
    return [line.text for line in buffer.next_batch(NOW)]


def test_a_line_is_kept_as_it_was_said() -> None:
    buffer = LogBuffer()
    buffer.add(NOW, Level.ERROR, "plan", "it broke")
    assert buffer.next_batch(NOW) == (
        LogLine(sequence=1, written_at=NOW, level=Level.ERROR, stage="plan", text="it broke"),
    )


def test_a_batch_comes_again_until_it_is_acknowledged() -> None:
    buffer = LogBuffer()
    add(buffer, "a", "b")
    first = buffer.next_batch(NOW)
    add(buffer, "c")
    assert [line.text for line in first] == ["a", "b"]
    assert texts(buffer) == ["a", "b", "c"]
    buffer.acknowledge(first[-1].sequence)
    assert [(line.sequence, line.text) for line in buffer.next_batch(NOW)] == [(3, "c")]


def test_many_lines_of_one_message_are_many_lines() -> None:
    buffer = LogBuffer()
    add(buffer, "a\nb\r\nc\n", "")
    assert texts(buffer) == ["a", "b", "c", ""]


def test_a_long_line_is_cut_between_characters() -> None:
    buffer = LogBuffer()
    add(buffer, "é" * LINE_BYTES_MAX)
    (text,) = texts(buffer)
    assert text.endswith("… (cut)")
    assert LINE_BYTES_MAX - 2 < len(text.encode()) <= LINE_BYTES_MAX


def test_what_no_wire_can_carry_is_replaced() -> None:
    buffer = LogBuffer()
    add(buffer, "a\udc80b\0c")
    assert texts(buffer) == ["a?b\ufffdc"]


def test_a_batch_is_bounded_in_lines_and_in_bytes() -> None:
    many, long = LogBuffer(), LogBuffer()
    add(many, *("x" for _ in range(BATCH_LINES_MAX + 1)))
    add(long, *("x" * LINE_BYTES_MAX for _ in range(BATCH_LINES_MAX)))
    assert len(many.next_batch(NOW)) == BATCH_LINES_MAX
    assert sum(len(text) for text in texts(long)) <= 1024 * 1024


def test_what_does_not_fit_is_counted_and_said() -> None:
    # GIVEN a full buffer
    buffer = LogBuffer(lines_max=2)
    add(buffer, "a", "b", "c", "d")
    assert texts(buffer) == ["a", "b"]
    # WHEN there is room again
    buffer.acknowledge(2)
    # THEN the gap is told where it was, and sequences go on without one
    lines = buffer.next_batch(NOW)
    assert [(line.sequence, line.level) for line in lines] == [(3, Level.WARN)]
    assert lines[0].text.startswith("2 lines were left out here")
    assert buffer.dropped_total == 2


@given(st.lists(st.one_of(st.integers(1, 40), st.just(0)), max_size=60))
def test_sequences_have_no_gaps_and_every_line_is_sent_or_counted(steps: list[int]) -> None:
    buffer = LogBuffer(lines_max=10)
    sent: list[LogLine] = []
    written = 0
    for step in [*steps, 0, 0]:
        add(buffer, *("x" for _ in range(step)))
        written += step
        assert len(buffer) <= 10
        if step == 0 and (batch := buffer.next_batch(NOW)):
            sent += batch
            buffer.acknowledge(batch[-1].sequence)
    assert [line.sequence for line in sent] == list(range(1, len(sent) + 1))
    assert sum(line.text == "x" for line in sent) + buffer.dropped_total == written
