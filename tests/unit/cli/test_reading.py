"""What people type, as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmpool.control.v1.templates_pb2 import Schedule
from warmpool.control.v1.workspaces_pb2 import GetWorkspaceRequest
from warmpool_cli.commands.options import read_pairs, read_span
from warmpool_cli.commands.schedule import read_schedule
from warmpool_cli.commands.template import template_name_of
from warmpool_cli.errors import UsageInvalid
from warmpool_cli.flows.finding import read_workspace_name

ID = "0d9b1d4e-6f0e-4c1c-8a41-3d3a86c1d1a5"


def test_pairs_keep_what_follows_the_first_equals_sign():
    assert read_pairs("--tag", ["a=b=c", "empty="]) == {"a": "b=c", "empty": ""}


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (["size"], "--tag 'size' is not NAME=VALUE"),
        (["=large"], "--tag '=large' is not NAME=VALUE"),
        (["a=1", "a=2"], "--tag a is given twice"),
    ],
)
def test_a_pair_that_is_none_is_named(values: list[str], cause: str):
    with pytest.raises(UsageInvalid) as caught:
        read_pairs("--tag", values)

    assert caught.value.cause == cause


def test_a_schedule_is_an_expression_and_a_count():
    assert read_schedule("* 8-18 * * 1-5=3") == Schedule(cron="* 8-18 * * 1-5", instances=3)


@pytest.mark.parametrize("text", ["* 8-18 * * 1-5", "=3", "* * * * *=many", "* * * * *=-1"])
def test_a_schedule_without_a_count_is_refused(text: str):
    with pytest.raises(UsageInvalid) as caught:
        read_schedule(text)

    assert caught.value.cause == f"the schedule {text!r} is not CRON=N"


@pytest.mark.parametrize(
    ("named", "request_"),
    [
        ("web", GetWorkspaceRequest(name="web")),
        ("ann/web", GetWorkspaceRequest(owner="ann", name="web")),
        (ID.upper(), GetWorkspaceRequest(workspace_id=ID)),
    ],
)
def test_a_workspace_is_named_in_three_ways(named: str, request_: GetWorkspaceRequest):
    assert read_workspace_name(named) == request_


@pytest.mark.parametrize("named", ["", "/web", "ann/", "a/b/c"])
def test_what_names_no_workspace_is_refused(named: str):
    with pytest.raises(UsageInvalid) as caught:
        read_workspace_name(named)

    assert caught.value.cause == f"{named!r} names no workspace"


@pytest.mark.parametrize(
    ("directory", "name"),
    [("My Demo", "my-demo"), ("Ünï cödé", "uni-code"), ("a" * 40, "a" * 32), ("--x_", "x")],
)
def test_a_template_is_called_like_its_directory(directory: str, name: str):
    assert template_name_of(Path("/templates") / directory) == name


def test_a_directory_without_a_letter_names_no_template():
    with pytest.raises(UsageInvalid) as caught:
        template_name_of(Path("/templates/模板"))

    assert caught.value.fix == "give one with --name NAME"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800), ("365d", 31_536_000)],
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int):
    assert read_span("--lifetime", text) == seconds


@pytest.mark.parametrize("text", ["7", "d", "0d", "-1d", "1.5h", "7 d", "1w", "7d\n", "٣d"])
def test_what_is_no_span_is_refused_with_examples(text: str):
    with pytest.raises(UsageInvalid) as caught:
        read_span("--lifetime", text)

    assert caught.value.fix == "give --lifetime 90s, 15m, 12h or 7d"
