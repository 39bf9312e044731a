"""agentgw as a process of its own, to be killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["GatewayProcess", "read_port", "start_gateway"]


class GatewayProcess(subprocess.Popen[bytes]):
    """Killed at the end, whatever happened."""

    def __exit__(self, *_: object) -> None:
        """Kills it, and waits until it is gone."""
        self.kill()
        self.wait()


def start_gateway(
    control_plane_address: str, nats_url: str, directory: Path, name: str
) -> GatewayProcess:
    """Starts one; its port file and its log lie in the directory, under its name."""
    (directory / "key").write_text("the gateway's key")
    environment = {
        **os.environ,
        "WARMPOOL_AGENTGW_PORT_FILE": str(directory / f"{name}.port"),
        "WARMPOOL_AGENTGW_METRICS_LISTEN": "",
        "WARMPOOL_AGENTGW_RECONCILER_ADDRESS": control_plane_address,
        "WARMPOOL_AGENTGW_KEY_FILE": str(directory / "key"),
        "WARMPOOL_AGENTGW_NATS_URL": nats_url,
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    command = [sys.executable, "-m", "agentgw"]
    with (directory / f"{name}.log").open("wb") as log:
        return GatewayProcess(command, env=environment, stdout=log, stderr=log)


def read_port(directory: Path, name: str) -> int:
    """Where it listens; fails with its log if it does not say."""
    port_file = directory / f"{name}.port"
    assert port_file.exists(), (directory / f"{name}.log").read_text()
    return int(port_file.read_text())
