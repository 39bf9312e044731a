"""`python -m agentgw`."""

from __future__ import annotations

from agentgw.wiring.service import serve
from agentgw.wiring.settings import GatewaySettings
from svckit.rungroup import run

if __name__ == "__main__":
    run(GatewaySettings, serve)
