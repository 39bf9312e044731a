"""The commands for people against the real API: the documented examples, and how they fail."""

from __future__ import annotations

import io
import json
import re
import shlex
import stat
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testkit.office import OWNER_TOKEN, Office
from warmpool_cli.main import run

pytestmark = pytest.mark.integration
DOCS = Path(__file__).parents[4] / "docs" / "cli.md"


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it must be."""
        return json.loads(self.out)


Cli = Callable[..., Awaitable[Ran]]


@pytest.fixture
def cli(office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs the command as the owner, in a directory of its own."""
    for name in ("TOKEN_FILE", "CA_FILE"):
        monkeypatch.delenv(f"WARMPOOL_{name}", raising=False)
    monkeypatch.setenv("WARMPOOL_ADDRESS", office.address)
    monkeypatch.setenv("WARMPOOL_TOKEN", OWNER_TOKEN)
    monkeypatch.chdir(tmp_path)

    async def run_it(*arguments: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = await run(arguments)
        return Ran(code, out.getvalue(), err.getvalue())

    return run_it


def examples() -> list[list[str]]:
    """The command lines of the chapter about people, without "warmpool"."""
    chapter = DOCS.read_text().partition("\n## People\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)).splitlines()
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("output", ["text", "json"])
async def test_the_documented_examples_run_as_they_stand(
    cli: Cli, office: Office, output: str
) -> None:
    commands = examples()
    assert {command[0] for command in commands} >= {"user", "token", "org", "key", "audit"}
    for command in commands:
        ran = await cli(*command, "--output", output)
        assert (command, ran.code, ran.err) == (command, 0, "")
        if output == "json":
            assert ran.document is not None
        office.world.clock.advance(1)
    ran = await cli("audit", "--limit", "100", "-o", "json")
    assert [entry["action"] for entry in reversed(ran.document["entries"])] == [
        "user.create",
        "user.set_roles",
        "token.create",
        "token.create",
        "token.revoke",
        "organization.create",
        "member.add",
        "organization.set_quota",
        "key.create",
        "key.revoke",
        "member.remove",
        "user.disable",
        "user.enable",
        "user.set_roles",
    ]


async def test_users_as_people_and_programs_see_them(cli: Cli) -> None:
    ran = await cli("user", "create", "grace", "--email", "grace@example.org", "--role", "auditor")
    row = ran.out.splitlines()[1].split()
    assert row[:5] == ["grace", "-", "grace@example.org", "auditor", "yes"]
    ran = await cli("user", "disable", "grace")
    assert "no (disabled)" in ran.out
    ran = await cli("user", "list", "--system", "--output", "json")
    assert [(user["username"], user["is_system"]) for user in ran.document["users"]] == [
        ("ada", False),
        ("admin", False),
        ("grace", False),
        ("prebuilds", True),
    ]


async def test_a_token_is_shown_once_or_kept_in_a_private_file(cli: Cli, tmp_path: Path) -> None:
    shown = await cli("token", "create", "laptop")
    (secret,) = [line for line in shown.out.splitlines() if line.startswith("wp_")]
    assert secret not in (await cli("token", "list", "-o", "json")).out

    kept = await cli("token", "create", "ci", "--secret-file", "ci.token", "-o", "json")
    assert kept.document["secret"] == ""
    file = tmp_path / "ci.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ran = await cli("whoami", "--token-file", "ci.token", "-o", "json")
    assert ran.document["username"] == "admin"

    again = await cli("token", "create", "more", "--secret-file", "ci.token")
    assert (again.code, "exists already" in again.err) == (6, True)
    refused = await cli("token", "create", "x", "--user", "nobody", "--secret-file", "no.token")
    assert (refused.code, (tmp_path / "no.token").exists()) == (5, False)
    names = [t["name"] for t in (await cli("token", "list", "-o", "json")).document["tokens"]]
    assert sorted(names) == ["bootstrap", "ci", "laptop"]


async def test_a_name_of_two_tokens_is_not_enough_to_end_one(cli: Cli) -> None:
    ids = [
        (await cli("token", "create", "twice", "-o", "json")).document["token"]["id"]
        for _ in range(2)
    ]
    ran = await cli("token", "revoke", "twice")
    assert (ran.code, all(each in ran.err for each in ids)) == (2, True)
    assert (await cli("token", "revoke", ids[0])).code == 0
    assert (await cli("token", "revoke", "twice")).code == 0
    ran = await cli("token", "revoke", "twice")
    assert (ran.code, "no token named 'twice'" in ran.err) == (5, True)
    assert (await cli("key", "revoke", "twice")).code == 5


REFUSALS = [
    ("user roles admin auditor", 6, "is the last owner who can log in"),
    ("user disable prebuilds", 6, '"prebuilds" is the system user'),
    ("user roles admin", 2, "or --none"),
    ("user roles admin owner --none", 2, "or --none"),
    ("user roles admin root", 2, 'allowed: "owner", "template-admin", "auditor"'),
    ("user create Grace", 2, "username"),
    ("user create ada", 6, 'there is a user "ada"'),
    ("token create x --lifetime soon", 2, "is not a span of time"),
    ("token create x --lifetime 366d", 2, "a year"),
    ("org members mars", 5, 'no organization "mars"'),
    ("org remove default ada", 5, "does not belong"),
    ("org quota default many", 2, "neither a number nor none"),
    ("org quota default 100001", 2, "allowed is 0 to 100000"),
    ("key create x --kind teapot", 2, '"provisioner" or "gateway"'),
    ("key create x --kind gateway --tag a=b", 2, "leave it empty"),
]


async def test_a_refusal_says_what_is_wrong(cli: Cli) -> None:
    for command, code, said in REFUSALS:
        ran = await cli(*command.split())
        assert (command, ran.code, said in ran.err, ran.out) == (command, code, True, "")
