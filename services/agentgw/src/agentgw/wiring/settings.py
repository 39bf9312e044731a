"""What an operator decides: flags, then WARMPOOL_AGENTGW_* variables, then a file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from agentgw.wiring.gateway import GatewayPlan
from bus.access import NatsAccess
from svckit.errors import StartFailed
from svckit.nats_settings import NatsSettings
from svckit.tls import ClientTls

__all__ = ["GatewaySettings"]


class GatewaySettings(NatsSettings):
    """The gateway's settings."""

    service: ClassVar[str] = "agentgw"

    reconciler_address: str = Field(
        "127.0.0.1:7080",
        description="the control plane: host:port, http://host:port or https://host:port",
    )
    reconciler_ca_file: Path | None = Field(
        None, description="PEM roots the control plane's certificate must have; none: the system's"
    )
    reconciler_cert_file: Path | None = Field(
        None, description="PEM certificate this gateway shows to the control plane (mTLS)"
    )
    reconciler_key_file: Path | None = Field(None, description="PEM key of that certificate")
    key_file: Path = Field(description="file with the key this gateway was given for its calls")
    heartbeat_seconds: float = Field(
        55.0,
        ge=0.1,
        le=300,
        description="a waiting agent hears something at least this often; keep it below the idle"
        " timeouts of proxies, of which a common one is 60 s",
    )
    sweep_seconds: float = Field(
        25.0, ge=0.1, le=3600, description="every waiting agent is looked at at least this often"
    )
    liveness_seconds: float = Field(
        15.0, ge=0.1, le=300, description="connected agents are reported at least this often"
    )
    unknown_token_seconds: float = Field(
        1.0,
        ge=0,
        le=60,
        description="a token that no agent had is refused for so long without another look; a token"
        " that becomes valid works that much later at most",
    )
    sessions_max: int = Field(20_000, ge=1, le=1_000_000, description="streams held at once")
    opens_per_second: float = Field(
        3_000.0, ge=1, le=1_000_000, description="streams opened per second, in the long run"
    )
    opens_burst: int = Field(
        10_000, ge=1, le=1_000_000, description="streams that may be opened at once"
    )
    drain_window_seconds: float = Field(
        3.0, ge=0, le=600, description="over how long agents are sent elsewhere at the end"
    )
    reuse_port: bool = Field(
        False, description="share the port with other gateways that set this, too (SO_REUSEPORT)"
    )

    def plan(self) -> GatewayPlan:
        """What of this concerns the gateway itself."""
        return GatewayPlan(
            listen=self.listen,
            tls=self.tls(),
            reflection=self.reflection,
            health_listen=self.health_listen,
            reuse_port=self.reuse_port,
            heartbeat_seconds=self.heartbeat_seconds,
            sweep_seconds=self.sweep_seconds,
            liveness_seconds=self.liveness_seconds,
            unknown_token_seconds=self.unknown_token_seconds,
            sessions_max=self.sessions_max,
            opens_per_second=self.opens_per_second,
            opens_burst=self.opens_burst,
            drain_window_seconds=self.drain_window_seconds,
            drain_seconds=self.drain_seconds,
        )

    def read_key(self) -> str:
        """The key for calls to the control plane. StartFailed if it cannot be read or is empty."""
        try:
            key = self.key_file.read_text().strip()
        except OSError as error:
            raise StartFailed(f"key_file {self.key_file}: {error.strerror}") from error
        if not key:
            raise StartFailed(f"key_file {self.key_file}: is empty; it must hold the gateway's key")
        return key

    def reconciler_tls(self) -> ClientTls | None:
        """Whom to trust at the other end; None to decide by the address alone."""
        if self.reconciler_ca_file is None and self.reconciler_cert_file is None:
            return None
        return ClientTls(
            ca_file=self.reconciler_ca_file,
            cert_file=self.reconciler_cert_file,
            key_file=self.reconciler_key_file,
        )

    def nats_access(self) -> NatsAccess:
        """Who this service is to NATS, and whom it trusts there."""
        return NatsAccess(
            credentials_file=self.nats_credentials_file,
            nkey_file=self.nats_nkey_file,
            ca_file=self.nats_ca_file,
            cert_file=self.nats_cert_file,
            key_file=self.nats_key_file,
        )
