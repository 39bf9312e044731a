"""One document, one line a record, or sentences."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime

import pytest

from warmpool.control.v1.pools_pb2 import Pool
from warmpool.control.v1.system_pb2 import WhoAmIResponse
from warmpool_cli.output import Output, OutputFormat, as_json, printable
from warmpool_cli.render.tables import pools_table

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def an_output(output_format: OutputFormat) -> tuple[Output, io.StringIO]:
    stream = io.StringIO()
    return Output(output_format, stream), stream


def test_json_carries_the_document_and_nothing_said_on_the_way():
    output, stream = an_output(OutputFormat.JSON)

    output.say("pushing")
    with output.step("importing") as step:
        step.update("plan")
    output.document({"a": 1})

    assert json.loads(stream.getvalue()) == {"a": 1}


def test_a_stream_of_json_is_one_document_a_line():
    output, stream = an_output(OutputFormat.JSON)

    output.record({"a": "two\nlines"})
    output.record({"a": 2})

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"a": "two\nlines"},
        {"a": 2},
    ]


def test_progress_that_goes_to_a_file_is_whole_lines_each_said_once():
    output, stream = an_output(OutputFormat.TEXT)

    with output.step("importing") as step:
        step.update("plan")
        step.update("plan")
        step.update("apply")
    output.document({"a": 1})

    assert stream.getvalue().splitlines() == ["importing ...", "  plan", "  apply"]


def test_text_from_elsewhere_cannot_steer_the_terminal():
    output, stream = an_output(OutputFormat.TEXT)

    output.say("[red]a\x1b[2Jb\rc[/red]")

    assert stream.getvalue() == "[red]a\\x1b[2Jb\\x0dc[/red]\n"
    assert printable("tab\tis kept") == "tab\tis kept"


def test_json_has_the_names_of_the_wire_and_its_defaults():
    assert as_json(WhoAmIResponse(user_id="u")) == {"user_id": "u", "username": "", "roles": []}


def test_a_wide_table_is_not_cut_in_a_file():
    output, stream = an_output(OutputFormat.TEXT)
    error = "no capacity in any of the regions that the template allows " * 2

    output.draw(pools_table([Pool(template_name="t" * 30, last_error=error.strip())], NOW))

    assert error.strip() in stream.getvalue()


def test_a_wait_that_is_ended_says_where_the_work_goes_on():
    output, stream = an_output(OutputFormat.TEXT)

    with pytest.raises(asyncio.CancelledError), output.outlived("look there"):
        raise asyncio.CancelledError
    with output.outlived("nor here"):
        output.say("done")

    assert stream.getvalue().splitlines() == ["look there", "done"]


def test_a_pool_shows_its_unready_members_only_if_it_has_some():
    unready = Pool(version_name="v1", active=True, desired=2, running=2, eligible=1)
    output, stream = an_output(OutputFormat.TEXT)

    output.draw(pools_table([unready], NOW))
    output.draw(pools_table([Pool(desired=1, running=1, eligible=1)], NOW))

    header, row, other, _ = (line.split() for line in stream.getvalue().splitlines())
    assert dict(zip(header[2:5], row[2:5], strict=True)) == {
        "READY": "1/2",
        "UNREADY": "1",
        "STARTING": "0",
    }
    assert "UNREADY" not in other
