"""What the services of a local system are told."""

from __future__ import annotations

from pathlib import Path

from warmpool_cli.local.environment import (
    LocalSettings,
    agent_command,
    agentgw_environment,
    base_environment,
    provisionerd_environment,
    reconciler_environment,
)
from warmpool_cli.local.layout import Layout

LAYOUT = Layout(Path("/w"))
SETTINGS = LocalSettings(port=7080, agent_port=7443, terraform=Path("/bin/tofu"), metrics=False)


def test_the_gateway_keeps_the_port_that_agents_are_told():
    reconciler = reconciler_environment(LAYOUT, SETTINGS, "nats://n")
    gateway = agentgw_environment(LAYOUT, SETTINGS, "nats://n")

    assert reconciler["WARMPOOL_RECONCILER_AGENT_URL"] == "http://127.0.0.1:7443"
    assert gateway == {
        "WARMPOOL_AGENTGW_LISTEN": "127.0.0.1:7443",
        "WARMPOOL_AGENTGW_METRICS_LISTEN": "",
        "WARMPOOL_AGENTGW_LOG_LEVEL": "INFO",
        "WARMPOOL_AGENTGW_PORT_FILE": "/w/services/agentgw.port",
        "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": "127.0.0.1:7080",
        "WARMPOOL_AGENTGW_KEY_FILE": "/w/secrets/gateway-key",
        "WARMPOOL_AGENTGW_NATS_URL": "nats://n",
        "WARMPOOL_AGENTGW_DRAIN_WINDOW_SECONDS": "0",
    }


def test_secrets_go_by_the_name_of_a_file():
    environment = reconciler_environment(LAYOUT, SETTINGS, "nats://n")

    assert environment["WARMPOOL_RECONCILER_DATABASE_URL_FILE"] == "/w/secrets/database-url"
    assert "WARMPOOL_RECONCILER_DATABASE_URL" not in environment


def test_workspaces_stay_below_the_directory():
    environment = provisionerd_environment(LAYOUT, SETTINGS, {"PATH": "/bin"})

    assert environment["WARMPOOL_WORKSPACES_DIR"] == "/w/provisioner/workspaces"
    assert environment["WARMPOOL_PROVISIONERD_PROVISIONERS"] == "terraform,process"
    assert environment["WARMPOOL_PROVISIONERD_TERRAFORM_PATH"] == "/bin/tofu"
    assert environment["PATH"].endswith(":/bin")


def test_without_terraform_only_process_templates_are_built():
    settings = LocalSettings(port=1, agent_port=2)
    environment = provisionerd_environment(LAYOUT, settings, {})

    assert environment["WARMPOOL_PROVISIONERD_PROVISIONERS"] == "process"
    assert "WARMPOOL_PROVISIONERD_TERRAFORM_PATH" not in environment


def test_no_service_gets_the_token_of_who_started_it():
    assert base_environment()["WARMPOOL_TOKEN"] == ""


def test_the_agents_command_survives_the_shells_splitting():
    assert agent_command("/venv/bin/python") == "/venv/bin/python -P -m agentsdk"
    assert agent_command("/my venv/bin/python") == "warmpool-agent"
