"""Settings from flags, environment and a file: one name each, documented, checked before anything
starts.

A flag beats the environment, which beats the file, which beats the default. For the setting
`drain_seconds` of the service "reconciler" they are `--drain-seconds`,
`WARMPOOL_RECONCILER_DRAIN_SECONDS` and the key `drain_seconds` in the TOML file that `--config` or
`WARMPOOL_RECONCILER_CONFIG` names. Lists are written "a,b", tables "key=value,key=value" (or
natively in TOML). A wrong value ends the process with one line that names where it came from, and
code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from svckit.addresses import is_loopback, parse_listen
from svckit.certificate_files import CertificateFile
from svckit.settings_sources import (
    HelpAsked,
    SettingsError,
    collect,
    describe,
    explain,
)
from svckit.tls import TlsSettings

__all__ = ["ServiceSettings", "SettingsError", "load_settings", "parse_settings"]


class ServiceSettings(BaseSettings):
    """What every service has. A service derives, sets `service` and adds described fields."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    service: ClassVar[str] = "service"
    """Names the service in its environment variables and its log."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least severe log lines to write"
    )
    listen: str = Field(
        default="127.0.0.1:0", description="host:port of the gRPC server; port 0: any free"
    )
    health_listen: str = Field(
        default="",
        description="host:port for health checks alone, in plain text whatever TLS says, for"
        ' probes that speak no TLS; "" for none',
    )
    metrics_listen: str = Field(
        default="127.0.0.1:0", description='host:port of Prometheus metrics; "" for none'
    )
    port_file: Path | None = Field(
        default=None, description="file to write the gRPC port to when the service is ready"
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, le=3600, description="how long calls may finish after SIGTERM"
    )
    reflection: bool = Field(default=False, description="let tools list the gRPC services")
    otlp_endpoint: str = Field(
        default="", description='URL of an OTLP/gRPC trace collector; "" for none'
    )
    tls_cert_file: Path | None = Field(
        default=None, description="PEM certificate chain of the server"
    )
    tls_key_file: Path | None = Field(default=None, description="PEM key of the server")
    tls_client_ca_file: Path | None = Field(
        default=None, description="PEM roots; if set, clients must have a certificate (mTLS)"
    )
    tls_client_names: tuple[str, ...] = Field(
        default=(),
        description="DNS names or URIs (SPIFFE ids) of which a client's certificate must bear one;"
        " none: any certificate will do",
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Serve, and send keys, without TLS beyond this machine: only where something"
        " else encrypts, such as a service mesh",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only: `parse_settings` reads the sources and knows which one was wrong."""
        return (init_settings,)

    @field_validator("listen", "health_listen", "metrics_listen")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value:
            parse_listen(value)
        return value

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        if not value:
            raise ValueError("allowed is host:port")
        return value

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file: set both or neither")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        if self.tls_client_names and self.tls_client_ca_file is None:
            raise ValueError("tls_client_names needs tls_client_ca_file")
        plain = self.tls_cert_file is None and not self.allow_plaintext
        if plain and not is_loopback(parse_listen(self.listen)[0]):
            raise ValueError(
                f"listen is {self.listen}, which other machines reach, and there is no TLS: set"
                " tls_cert_file and tls_key_file, or allow_plaintext where something else encrypts"
            )
        return self

    def tls(self) -> TlsSettings | None:
        """The server's TLS files; None for plaintext."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsSettings(
            self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file, self.tls_client_names
        )

    def certificate_files(self) -> tuple[CertificateFile, ...]:
        """Every file with certificates that a setting names: our own with their keys, and roots."""
        found: list[CertificateFile] = []
        for name in type(self).model_fields:
            file = getattr(self, name)
            if file is None:
                continue
            if name.endswith("cert_file"):
                key_file = getattr(self, f"{name.removesuffix('cert_file')}key_file")
                found.append(CertificateFile(name, file, key_file))
            elif name.endswith("ca_file"):
                found.append(CertificateFile(name, file))
        return tuple(found)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def parse_settings(
    cls: type[SettingsT], argv: Sequence[str], environ: Mapping[str, str]
) -> SettingsT:
    """The settings from `argv` (without the program's name), `environ` and the file they name.

    Raises SettingsError with the one line to show, and HelpAsked for --help.
    """
    found = collect(cls, cls.service, argv, environ)
    try:
        return cls.model_validate({name: value.value for name, value in found.items()})
    except ValidationError as error:
        raise SettingsError(explain(cls, cls.service, found, error)) from None


def load_settings(cls: type[SettingsT], argv: Sequence[str] | None = None) -> SettingsT:
    """The settings of this process. On a wrong one writes one line to stderr and exits with 2;
    for --help writes all of them to stdout and exits with 0.
    """
    try:
        return parse_settings(cls, sys.argv[1:] if argv is None else argv, os.environ)
    except HelpAsked:
        sys.stdout.write(describe(cls, cls.service))
        raise SystemExit(0) from None
    except SettingsError as error:
        sys.stderr.write(f"{cls.service}: {error}\n")
        raise SystemExit(2) from None
