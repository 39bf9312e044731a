"""A tfstate becomes agents, resources and secrets."""

from __future__ import annotations

import json

import pytest

from provisionerd.core.errors import TemplateInvalid
from provisionerd.core.provisioner import Agent, AgentApp, AgentScript, Replacement, Resource
from provisionerd.terraform.agents import read_agents, read_resources
from provisionerd.terraform.events import PlannedChange
from provisionerd.terraform.replacements import list_replacements
from provisionerd.terraform.tfstate import TfstateUnreadable, list_secrets, read_tfstate

Json = dict[str, object]


def _a_resource(
    address: str,
    attributes: Json,
    *,
    depends_on: tuple[str, ...] = (),
    key: int | str | None = None,
    sensitive: tuple[str, ...] = (),
) -> Json:
    *modules, type_, name = address.split(".")
    mode = "managed"
    if modules and modules[-1] == "data":
        modules, mode = modules[:-1], "data"
    instance: Json = {
        "attributes": attributes,
        "dependencies": list(depends_on),
        "sensitive_attributes": [[{"type": "get_attr", "value": name}] for name in sensitive],
    }
    if key is not None:
        instance["index_key"] = key
    resource: Json = {"mode": mode, "type": type_, "name": name, "instances": [instance]}
    if modules:
        resource["module"] = ".".join(modules)
    return resource


def _a_tfstate(*resources: Json, outputs: Json | None = None) -> bytes:
    return json.dumps(
        {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": 3,
            "lineage": "71c29a70",
            "outputs": outputs or {},
            "resources": list(resources),
        }
    ).encode()


def _an_agent(name: str = "main", agent_id: str = "a1") -> Json:
    return _a_resource(
        f"coder_agent.{name}",
        {
            "id": agent_id,
            "token": f"token-of-{agent_id}",
            "os": "linux",
            "arch": "arm64",
            "dir": None,
            "env": {"EDITOR": "vi", "PATH": "/bin"},
            "startup_script": "echo hello",
            "startup_script_behavior": "blocking",
            "connection_timeout": 90,
        },
        key=0,
    )


def test_an_agent_has_what_names_its_id() -> None:
    tfstate = read_tfstate(
        _a_tfstate(
            _an_agent(),
            _a_resource(
                "coder_script.start",
                {
                    "agent_id": "a1",
                    "display_name": "Start",
                    "script": "run",
                    "run_on_start": True,
                    "timeout": 5,
                    "cron": None,
                },
            ),
            _a_resource(
                "coder_env.path",
                {"agent_id": "a1", "name": "PATH", "value": "/opt", "merge_strategy": "append"},
            ),
            _a_resource("coder_env.tz", {"agent_id": "a1", "name": "TZ", "value": "UTC"}),
            _a_resource("coder_env.other", {"agent_id": "a2", "name": "TZ", "value": "CET"}),
            _a_resource(
                "coder_app.ide",
                {"agent_id": "a1", "slug": "ide", "display_name": "IDE", "url": "http://x"},
            ),
        )
    )
    assert read_agents(tfstate.managed) == (
        Agent(
            id="a1",
            name="main",
            token="token-of-a1",
            os="linux",
            arch="arm64",
            env={"EDITOR": "vi", "PATH": "/bin:/opt", "TZ": "UTC"},
            scripts=(
                AgentScript(
                    display_name="Startup Script",
                    script="echo hello",
                    run_on_start=True,
                    start_blocks_login=True,
                    log_path="coder-startup-script.log",
                ),
                AgentScript(
                    display_name="Start", script="run", run_on_start=True, timeout_seconds=5
                ),
            ),
            apps=(AgentApp(slug="ide", display_name="IDE", url="http://x"),),
            connection_timeout_seconds=90,
        ),
    )


def test_an_agent_lives_on_the_nearest_resource_that_depends_on_it() -> None:
    tfstate = read_tfstate(
        _a_tfstate(
            _an_agent(),
            _a_resource("docker_volume.home", {"id": "v"}),
            _a_resource(
                "docker_container.ws",
                {"id": "c"},
                depends_on=("coder_agent.main", "docker_volume.home"),
                key=0,
            ),
            _a_resource(
                "null_resource.after",
                {"id": "n"},
                depends_on=("coder_agent.main", "docker_container.ws"),
            ),
            _a_resource("coder_metadata.m", {"id": "m"}, depends_on=("docker_container.ws",)),
        )
    )
    assert read_resources(tfstate.instances) == (
        Resource(address="docker_volume.home", type="docker_volume"),
        Resource(address="docker_container.ws[0]", type="docker_container", agent_names=("main",)),
        Resource(address="null_resource.after", type="null_resource"),
    )


def test_keys_of_modules_may_hold_anything() -> None:
    resource = _a_resource("null_resource.x", {}, key='a"b]')
    resource["module"] = 'module.m["x.y]"].module.n[0]'
    (instance,) = read_tfstate(_a_tfstate(resource)).instances
    assert instance.resource == "module.m.module.n.null_resource.x"
    assert instance.address == 'module.m["x.y]"].module.n[0].null_resource.x["a\\"b]"]'
    assert instance.modules == (("m", '["x.y]"]'), ("n", "[0]"))


def test_two_agents_of_one_name_are_refused() -> None:
    tfstate = read_tfstate(_a_tfstate(_an_agent("main", "a1"), _an_agent("Main", "a2")))
    with pytest.raises(TemplateInvalid, match="agent name 'Main' is used twice"):
        read_agents(tfstate.managed)


def test_secrets_are_what_is_marked_and_what_our_provider_marks() -> None:
    tfstate = read_tfstate(
        _a_tfstate(
            _an_agent(),
            _a_resource(
                "terraform_data.a",
                {"input": {"value": {"deep": ["hunter2"]}, "type": "dynamic"}, "id": "public"},
                sensitive=("input",),
            ),
            _a_resource("data.coder_workspace_owner.me", {"session_token": "st", "name": "ada"}),
            outputs={"x": {"value": "out", "sensitive": True}, "y": {"value": "shown"}},
        )
    )
    assert list_secrets(tfstate) == ("out", "token-of-a1", "hunter2", "st")


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_no_tfstate_has_no_instances(content: bytes | None) -> None:
    assert read_tfstate(content).instances == ()


@pytest.mark.parametrize("content", [b'{"version": 4, "ser', b'{"version": 3}', b"[]"])
def test_half_a_tfstate_is_refused(content: bytes) -> None:
    with pytest.raises(TfstateUnreadable):
        read_tfstate(content)


def test_a_replacement_names_what_differs_and_leaves_ours_out() -> None:
    before = read_tfstate(
        _a_tfstate(_a_resource("docker_container.ws", {"id": "1", "name": "pool-1", "image": "x"}))
    )
    after = read_tfstate(
        _a_tfstate(_a_resource("docker_container.ws", {"id": "2", "name": "ada", "image": "x"}))
    )
    planned = [
        PlannedChange(message="", address=address, resource_type=type_, action=action)
        for address, type_, action in (
            ("docker_container.ws", "docker_container", "replace"),
            ("docker_volume.home", "docker_volume", "update"),
            ("coder_agent.main", "coder_agent", "replace"),
        )
    ]
    assert list_replacements(planned, before, after) == (
        Replacement(address="docker_container.ws", paths=("name",)),
    )


@pytest.mark.parametrize(
    ("key", "rendered"),
    [
        (0, "[0]"),
        ("a.b", '["a.b"]'),
        ("b\u00fcr", '["b\u00fcr"]'),
        ('say "hi"', r'["say \"hi\""]'),
        ("a${b}%{c}", '["a$${b}%%{c}"]'),
    ],
)
def test_an_address_is_the_one_that_terraform_prints(key: str | int, rendered: str) -> None:
    tfstate = read_tfstate(_a_tfstate(_a_resource("cloud_vm.one", {}, key=key)))
    assert [each.address for each in tfstate.managed] == [f"cloud_vm.one{rendered}"]
