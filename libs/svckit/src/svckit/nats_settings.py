"""The settings of a service that uses NATS."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from svckit.settings import ServiceSettings

__all__ = ["NatsSettings"]


class NatsSettings(ServiceSettings):
    """Where NATS is, and who the service is there."""

    nats_url: SecretStr = Field(
        default=SecretStr("nats://127.0.0.1:4222"),
        description="NATS servers, separated by commas; tls:// to encrypt",
    )
    nats_nkey_file: Path | None = Field(
        default=None, description="seed of this service's nkey, its user at NATS"
    )
    nats_credentials_file: Path | None = Field(
        default=None, description="NATS credentials file (JWT and seed), instead of an nkey"
    )
    nats_ca_file: Path | None = Field(
        default=None, description="PEM roots to trust for NATS; by default the system's"
    )
    nats_cert_file: Path | None = Field(
        default=None, description="PEM certificate to show to NATS (mTLS)"
    )
    nats_key_file: Path | None = Field(default=None, description="PEM key of that certificate")

    @model_validator(mode="after")
    def _check_nats(self) -> Self:
        if self.nats_nkey_file is not None and self.nats_credentials_file is not None:
            raise ValueError("nats_nkey_file and nats_credentials_file: set one of them")
        if (self.nats_cert_file is None) != (self.nats_key_file is None):
            raise ValueError("nats_cert_file and nats_key_file: set both or neither")
        return self
