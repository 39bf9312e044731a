"""The commands for notifications, as people and programs see them."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from embedded import find_free_port
from reconciler.core.notifications.kinds import MailTls
from reconciler.sinks.mail import MailSettings, MailSink
from testkit.notice_desk import NoticeDesk
from testkit.office import OWNER_TOKEN, Office, serve_office
from warmpool_cli.main import run

pytestmark = pytest.mark.integration
Cli = Callable[[str], Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def office(desk: NoticeDesk) -> AsyncGenerator[Office]:
    """The API over the same database."""
    async with serve_office(desk.world) as office:
        yield office


@pytest.fixture
def cli(office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs the command as the owner."""
    for name in ("TOKEN_FILE", "CA_FILE"):
        monkeypatch.delenv(f"WARMPOOL_{name}", raising=False)
    monkeypatch.setenv("WARMPOOL_ADDRESS", office.address)
    monkeypatch.setenv("WARMPOOL_TOKEN", OWNER_TOKEN)
    monkeypatch.chdir(tmp_path)

    async def run_it(line: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = await run(line.split())
        return code, out.getvalue(), err.getvalue()

    return run_it


async def test_an_inbox_is_listed_and_read(desk: NoticeDesk, cli: Cli) -> None:
    for number in range(3):
        await desk.happen(message=f"event {number}\x1b[31m")
        desk.world.clock.advance(1)
    await desk.plan()
    _, listed, _ = await cli("inbox list -o json")
    document = json.loads(listed)
    assert document["unread_count"] == 3
    oldest = document["messages"][-1]["id"]

    code, shown, _ = await cli("inbox read")
    assert (code, "event 2" in shown, "\x1b" in shown) == (0, True, False)
    _, shown, _ = await cli(f"inbox read {oldest}")
    assert "event 0" in shown
    assert "Organization: default" in shown.splitlines()
    _, listed, _ = await cli("inbox list --unread")
    assert (listed.count('Pool "?"'), listed.count("new")) == (1, 1)
    assert (await cli("inbox read --all"))[1] == "1 messages marked as read\n"
    assert (await cli("inbox read"))[1] == "nothing is unread\n"


async def test_a_dead_letter_is_listed_with_its_reason_and_tried_again(
    desk: NoticeDesk, cli: Cli
) -> None:
    settings = MailSettings(
        host="127.0.0.1", port=find_free_port(), sender="w@example.org", tls=MailTls.NONE
    )
    desk.sinks = (MailSink(settings),)
    assert (await cli("notification address boss@example.org"))[0] == 0
    await desk.happen()
    await desk.plan()
    await desk.send()
    _, shown, _ = await cli("notification list --channel email")
    assert "again in" in shown or "waits" in shown
    for _ in range(2):
        desk.world.clock.advance(3600)
        await desk.send()
    _, shown, _ = await cli("notification dead")
    assert "dead" in shown
    assert "SMTPConnectError" in shown
    assert (await cli("notification retry --all"))[1] == "1 will be tried again\n"
    assert "SMTPConnectError" not in (await cli("notification dead"))[1]


REFUSALS = [
    ("inbox read x --all", 2, "both messages and --all"),
    ("inbox read 00000000-0000-0000-0000-000000000001", 5, "not all of them are in your inbox"),
    ("notification set all inbox maybe", 2, "neither on nor off"),
    ("notification set all pigeon on", 2, '"inbox", "email"'),
    ("notification set moon inbox on", 2, '"pool.hard_limited"'),
    ("notification address nowhere", 2, "is not an address"),
    ("notification list --status lost", 2, "give pending, sent or dead"),
    ("notification retry", 2, "or set all"),
    ("notification preferences --user nobody", 5, 'no user "nobody"'),
]


async def test_a_refusal_says_what_is_wrong(cli: Cli) -> None:
    for line, code, said in REFUSALS:
        ran = await cli(line)
        assert (line, ran[0], said in ran[2], ran[1]) == (line, code, True, "")
