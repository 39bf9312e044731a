"""`warmpool.toml` is read whole, or refused with the key, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisionerd.core.errors import TemplateInvalid
from provisionerd.core.provisioner import (
    AgentApp,
    AgentScript,
    Option,
    Parameter,
    Prebuilds,
    Preset,
    Schedule,
)
from provisionerd.process.template import AgentTemplate, Template, read_template

WHOLE = """
[[parameters]]
name = "region"
display_name = "Region"
description = "Where"
default = "eu"
mutable = true
options = [{ name = "Europe", value = "eu", description = "near" }, { name = "US", value = "us" }]

[[parameters]]
name = "cpus"
type = "number"
default = 2
validation = { min = 1, max = 8, monotonic = "increasing" }

[[parameters]]
name = "tags"
type = "list(string)"
default = ["a", "b"]

[[presets]]
name = "Big"
default = true
parameters = { region = "us", cpus = 8 }
description = "A big one"
icon = "/icon/big.svg"
[presets.prebuilds]
instances = 3
ttl = 7200
[presets.prebuilds.scheduling]
timezone = "Europe/Berlin"
schedule = [{ cron = "* 8-18 * * 1-5", instances = 9 }]

[workspace]
setup = "echo {parameter.region}"
setup_timeout = 5

[[agents]]
name = "main"
directory = "src"
env = { WHO = "{owner.full_name}" }
connection_timeout = 60
[[agents.scripts]]
display_name = "Hello"
script = "echo {owner.username}"
run_on_start = true
timeout = 9
start_blocks_login = true
log_path = "hello.log"
[[agents.apps]]
slug = "web"
display_name = "Web"
url = "http://localhost:8080/{workspace.name}"
"""


def test_a_whole_template_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == Template(
        parameters=(
            Parameter(
                name="region",
                type="string",
                display_name="Region",
                description="Where",
                default="eu",
                mutable=True,
                options=(
                    Option(name="Europe", value="eu", description="near"),
                    Option(name="US", value="us"),
                ),
            ),
            Parameter(
                name="cpus",
                type="number",
                default="2",
                minimum=1,
                maximum=8,
                monotonic="increasing",
            ),
            Parameter(name="tags", type="list(string)", default='["a", "b"]'),
        ),
        presets=(
            Preset(
                name="Big",
                is_default=True,
                parameters={"region": "us", "cpus": "8"},
                description="A big one",
                icon="/icon/big.svg",
                prebuilds=Prebuilds(
                    instances=3,
                    ttl_seconds=7200,
                    timezone="Europe/Berlin",
                    schedules=(Schedule(cron="* 8-18 * * 1-5", instances=9),),
                ),
            ),
        ),
        agents=(
            AgentTemplate(
                name="main",
                directory="src",
                env={"WHO": "{owner.full_name}"},
                scripts=(
                    AgentScript(
                        display_name="Hello",
                        script="echo {owner.username}",
                        run_on_start=True,
                        timeout_seconds=9,
                        start_blocks_login=True,
                        log_path="hello.log",
                    ),
                ),
                apps=(
                    AgentApp(
                        slug="web",
                        display_name="Web",
                        url="http://localhost:8080/{workspace.name}",
                    ),
                ),
                connection_timeout_seconds=60,
            ),
        ),
        setup="echo {parameter.region}",
        setup_timeout_seconds=5,
    )


AGENT = '[[agents]]\nname = "main"\n'
PRESET = '[[presets]]\nname = "P"\n'
POOL = PRESET + "[presets.prebuilds]\ninstances = 1\n"
NUMBER = '[[parameters]]\nname = "n"\ntype = "number"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\nagents = x", r"warmpool\.toml is not TOML: .*line 2"),
        ("", r"agents is empty; a workspace needs at least one"),
        ("agents = 3", r"agents is 3; it must be an array of tables \(\[\[agents\]\]\)"),
        (AGENT + "colour = 1", r"agents\[0\].colour is not a key; allowed here are apps, conn"),
        (AGENT * 2, "agents has 'main' twice; each needs its own"),
        ("[[agents]]", r"agents\[0\].name is missing; it must be given"),
        ('[[agents]]\nname = "../x"', r'agents\[0\].name is "../x"; it must be letters'),
        (AGENT + 'directory = "../.."', r"agents\[0\].directory .* inside the workspace"),
        (AGENT + 'env = { "A B" = "" }', r"agents\[0\].env.A B is .* environment variable"),
        (AGENT + "env = { A = 1 }", r"agents\[0\].env.A is 1; it must be a text"),
        (AGENT + 'env = { A = "{ownr.id}" }', r"env.A has \{ownr.id\}; placeholders are \{owner"),
        (AGENT + "connection_timeout = -1", "is -1; it must be a whole number from 0 to 86400"),
        (
            AGENT + '[[agents.scripts]]\ndisplay_name = "x"\nscript = "echo {owner.full_name}"\n'
            "run_on_start = true",
            r"scripts\[0\].script has \{owner.full_name\}, which a shell could misread",
        ),
        (
            AGENT + '[[agents.scripts]]\ndisplay_name = "x"\nscript = "true"',
            r"scripts\[0\].run_on_start is not set, nor are run_on_stop and cron",
        ),
        (AGENT + '[[agents.apps]]\nslug = "x"', r"apps\[0\].url and command: exactly one"),
        (
            '[workspace]\nsetup = "{parameter.n}"\n' + AGENT,
            r"workspace.setup has \{parameter.n\}",
        ),
        (NUMBER + 'default = "x"\n' + AGENT, r'parameters\[0\].default is "x"; it must be a numb'),
        (NUMBER + "validation = { min = 3, max = 1 }\n" + AGENT, "min is 3; it must not be above"),
        (NUMBER + 'validation = { regex = "x" }\n' + AGENT, "regex is given for .* type number"),
        (NUMBER + "ephemeral = true\n" + AGENT, "ephemeral is true; then default must be given"),
        (
            NUMBER + 'validation = { min = 1 }\noptions = [{ name = "a", value = 1 }]\n' + AGENT,
            "validation and options are both given",
        ),
        (NUMBER + 'options = [{ name = "a", value = "b" }]\n' + AGENT, "has 'a', whose value is"),
        (NUMBER + POOL + AGENT, "parameters has no 'n', which has no default; a pool needs"),
        (PRESET + "parameters = { x = 1 }\n" + AGENT, "parameters.x is no parameter; there are: n"),
        (NUMBER + PRESET + 'parameters = { n = "x" }\n' + AGENT, r'parameters.n is "x"; it must'),
        ((PRESET + "default = true\n") * 2 + AGENT, "presets has 'P' twice"),
        (PRESET + "default = 1\n" + AGENT, "default is 1; it must be true or false"),
        (POOL + "ttl = 60\n" + AGENT, "ttl is 60; it must be a whole number from 3600 to 31536000"),
        (
            POOL + '[presets.prebuilds.scheduling]\ntimezone = "Mars"\n'
            'schedule = [{ cron = "* 1 * * *", instances = 1 }]\n' + AGENT,
            "timezone is 'Mars'; it must be an IANA time zone",
        ),
        (
            POOL + '[presets.prebuilds.scheduling]\ntimezone = "UTC"\nschedule = ['
            '{ cron = "* 1-3 * * *", instances = 1 }, { cron = "* 3 * * *", instances = 1 }]\n'
            + AGENT,
            "schedule has .* and .*, which overlap; no two may",
        ),
        (
            POOL + '[presets.prebuilds.scheduling]\ntimezone = "UTC"\n'
            'schedule = [{ cron = "5 1 * * *", instances = 1 }]\n' + AGENT,
            r"schedule\[0\].cron is .*minute field",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(TemplateInvalid, match=complaint):
        read(tmp_path, text)


def test_a_template_without_the_file_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "main.tf").touch()
    with pytest.raises(TemplateInvalid, match=r"is missing; the template holds main\.tf"):
        read_template(tmp_path)


def read(directory: Path, text: str) -> Template:
    (directory / "warmpool.toml").write_text(text)
    return read_template(directory)
