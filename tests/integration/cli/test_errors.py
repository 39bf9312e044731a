"""Every failure is one line of cause, one line of fix, and a documented exit code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from embedded import find_free_port
from testkit.fake_control import FakeControl, Refusal

pytestmark = pytest.mark.integration
Cli = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.UNIMPLEMENTED, 1),
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.UNAVAILABLE, 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
        (grpc.StatusCode.UNAUTHENTICATED, 4),
        (grpc.StatusCode.PERMISSION_DENIED, 4),
        (grpc.StatusCode.NOT_FOUND, 5),
        (grpc.StatusCode.ALREADY_EXISTS, 6),
        (grpc.StatusCode.FAILED_PRECONDITION, 6),
        (grpc.StatusCode.ABORTED, 6),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 6),
    ],
)
async def test_the_exit_code_follows_from_what_was_refused(
    cli: Cli, control: FakeControl, code: grpc.StatusCode, exit_code: int
):
    control.on("WhoAmI", Refusal(code=code, message="it is\nas it is", reason="WHY"))

    ran = await cli("whoami", "--output", "json")

    cause, fix = ran.err.splitlines()
    assert (ran.code, ran.out) == (exit_code, "")
    assert cause.startswith("error: ")
    assert cause.endswith("it is as it is [WHY]")
    assert fix.startswith("  fix: ")


async def test_the_field_that_is_wrong_is_named(cli: Cli, control: FakeControl):
    control.on(
        "CreateWorkspace",
        Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message="is too long", field="name"),
    )

    ran = await cli("create", "t", "--name", "x")

    assert ran.err.splitlines()[0] == "error: name: is too long"


async def test_the_field_of_a_header_is_called_by_its_own_name(cli: Cli, control: FakeControl):
    control.on(
        "WhoAmI",
        Refusal(code=grpc.StatusCode.INVALID_ARGUMENT, message="is taken", field="header.version"),
    )

    ran = await cli("whoami")

    assert ran.err.splitlines()[0] == "error: version: is taken"


async def test_the_reason_decides_the_fix(cli: Cli, control: FakeControl):
    control.on(
        "WhoAmI",
        Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            message="it is of type process",
            reason="PROVISIONER_TYPE_DIFFERS",
        ),
    )

    ran = await cli("whoami")

    assert ran.err.splitlines()[1] == "  fix: push it under another --name"


async def test_a_control_plane_that_answers_was_reached(cli: Cli, control: FakeControl):
    control.on(
        "WhoAmI",
        Refusal(
            code=grpc.StatusCode.UNAVAILABLE, message="no database", reason="DATABASE_UNAVAILABLE"
        ),
    )

    ran = await cli("whoami")

    assert (ran.code, ran.err.splitlines()) == (
        3,
        [
            f"error: the control plane at {control.address} refuses work for now: no database "
            "[DATABASE_UNAVAILABLE]",
            "  fix: try again; `warmpool doctor` says what it lacks",
        ],
    )


async def test_nobody_listens(warmpool: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WARMPOOL_TOKEN", "t")
    address = f"127.0.0.1:{find_free_port()}"

    ran = await warmpool("list", "--address", address)

    cause, fix = ran.err.splitlines()
    assert ran.code == 3
    assert cause.startswith(f"error: cannot reach the control plane at {address}: ")
    assert "warmpool up" in fix


async def test_no_settings_at_all(warmpool: Cli):
    ran = await warmpool("list")

    assert ran.code == 2
    assert ran.err.startswith("error: no control plane is named: ")
    assert len(ran.err.splitlines()) == 2


async def test_an_address_without_a_token(warmpool: Cli):
    ran = await warmpool("list", "--address", "127.0.0.1:1")

    assert (ran.code, ran.err.splitlines()[0]) == (4, "error: no token for 127.0.0.1:1")


async def test_a_token_that_is_not_known(cli: Cli, elsewhere: Path):
    (elsewhere / "token").write_text("another\n")

    ran = await cli("list", "--token-file", "token")

    assert (ran.code, ran.err.splitlines()[0]) == (
        4,
        "error: the token is not known [TOKEN_UNKNOWN]",
    )


@pytest.mark.parametrize(
    ("arguments", "cause", "fix"),
    [
        (("lst",), "No such command 'lst'. Did you mean 'list'?", "see `warmpool --help`"),
        (("create",), "Missing argument 'TEMPLATE'.", "see `warmpool create --help`"),
        (
            ("list", "--limit", "0"),
            "Invalid value for '--limit': Input should be greater than or equal to 1",
            "see `warmpool list --help`",
        ),
        (
            ("create", "t", "-p", "size"),
            "--parameter 'size' is not NAME=VALUE",
            "give --parameter NAME=VALUE",
        ),
        (
            ("-o", "json", "list"),
            "No such option: -o",
            "give -o behind the command, as in `warmpool list -o ...`",
        ),
        (
            ("show", "\udcff\udcfe"),
            "the argument '\\xff\\xfe' is not text in UTF-8",
            "give names and values as text",
        ),
        (
            ("schedule", "explain", "* 8 * * *=99999999999"),
            "the schedule '* 8 * * *=99999999999' asks for more than 1,000,000",
            "give a smaller count",
        ),
        (
            ("up", "--log-level", "LOUD"),
            "--log-level 'LOUD' is not known",
            "give one of DEBUG, INFO, WARNING, ERROR",
        ),
        (
            ("list", "--owner", "a", "--all"),
            "--owner and --all are given, and --all means every owner",
            "give one of them",
        ),
        (
            ("logs",),
            "logs needs a workspace or a job, and not both",
            "give WORKSPACE, or --job ID",
        ),
        (
            ("template", "push", "nowhere"),
            "nowhere is not a directory",
            "name a template's directory",
        ),
    ],
)
async def test_a_command_line_that_is_not_valid(
    warmpool: Cli, arguments: tuple[str, ...], cause: str, fix: str
):
    ran = await warmpool(*arguments)

    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {cause}\n  fix: {fix}\n")


async def test_a_group_without_a_command_shows_its_help(warmpool: Cli):
    ran = await warmpool("pool")

    assert (ran.code, ran.err) == (2, "")
    assert "invalidate" in ran.out
