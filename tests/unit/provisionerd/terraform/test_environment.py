"""What a template's commands may see of us."""

from __future__ import annotations

from pathlib import Path

from provisionerd.terraform.cliconfig import render_cli_config
from provisionerd.terraform.environment import build_environment, list_credentials
from provisionerd.terraform.settings import ENV_ALLOWED


def _build(ours: dict[str, str], *extra: str) -> dict[str, str]:
    return build_environment(
        ours,
        allowed=(*ENV_ALLOWED, *extra),
        added={"AWS_REGION": "eu-north-1"},
        cli_config_file=Path("/job/cli.tfrc"),
        data_dir=Path("/job/data"),
        reattach={"TF_REATTACH_PROVIDERS": "{}"},
    )


def test_only_allowed_names_get_through() -> None:
    env = _build(
        {
            "PATH": "/bin",
            "WARMPOOL_INSTANCE": "one",
            "WARMPOOL_AGENT_COMMAND": "python -m agent",
            "WARMPOOL_PROVISIONERD_KEY": "secret",
            "DATABASE_URL": "postgres://",
            "CODER_AGENT_TOKEN": "ours, not theirs",
            "TF_CLI_CONFIG_FILE": "/missing",
            "TF_REATTACH_PROVIDERS": "somebody's",
            "AWS_PROFILE": "prod",
            "TF_VAR_zone": "a",
        }
    )
    assert env == {
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "TF_DISABLE_PLUGIN_TLS": "1",
        "GOGC": "400",
        "PATH": "/bin",
        "WARMPOOL_INSTANCE": "one",
        "WARMPOOL_AGENT_COMMAND": "python -m agent",
        "TF_VAR_zone": "a",
        "AWS_REGION": "eu-north-1",
        "TF_CLI_CONFIG_FILE": "/job/cli.tfrc",
        "TF_DATA_DIR": "/job/data",
        "TF_REATTACH_PROVIDERS": "{}",
    }


def test_an_operator_may_allow_more() -> None:
    assert _build({"AWS_PROFILE": "prod"}, "AWS_*")["AWS_PROFILE"] == "prod"


def test_credentials_are_told_by_their_names() -> None:
    env = {"AWS_SECRET_ACCESS_KEY": "s3cr3t", "TF_VAR_db_password": "hunter2", "PATH": "/bin"}
    assert list_credentials(env) == ("s3cr3t", "hunter2")


def test_the_cli_configuration_names_mirror_and_cache() -> None:
    text = render_cli_config(
        base='credentials "x" {}\n',
        plugin_mirror_dir=Path("/mirror ${x}"),
        plugin_cache_dir=Path("/cache"),
    )
    assert text == (
        'credentials "x" {}\n'
        "disable_checkpoint = true\n"
        'plugin_cache_dir = "/cache"\n'
        "plugin_cache_may_break_dependency_lock_file = true\n"
        'provider_installation {\n  filesystem_mirror {\n    path = "/mirror $${x}"\n  }\n}\n'
    )
