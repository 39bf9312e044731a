"""TLS from files, for servers and channels.

A server looks at its files again at each handshake and takes a renewed certificate without a
restart. A channel reads its files when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from svckit.errors import StartFailed
from svckit.log import get_logger

__all__ = ["ClientTls", "TlsSettings"]

_log = get_logger(__name__)


@dataclass(frozen=True)
class TlsSettings:
    """A server's certificate chain and key, PEM. `client_ca_file`: clients need one too."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files. Raises StartFailed if one cannot be read."""
        try:
            initial = self._load()
            seen = [self._stamp()]
        except OSError as error:
            raise StartFailed(f"cannot read a TLS file: {error}") from error

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            try:
                stamp = self._stamp()
                if stamp == seen[0]:
                    return None
                renewed = self._load()
            except OSError as error:
                _log.warning("A TLS file cannot be read; the former stays.", error=error)
                return None
            seen[0] = stamp
            return renewed

        # The stubs do not know that None stands for "unchanged".
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)
        return grpc.dynamic_ssl_server_credentials(
            initial, fetcher, require_client_authentication=self.client_ca_file is not None
        )

    def _files(self) -> list[Path]:
        return [file for file in (self.cert_file, self.key_file, self.client_ca_file) if file]

    def _stamp(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in self._files())

    def _load(self) -> grpc.ServerCertificateConfiguration:
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        ca = self.client_ca_file.read_bytes() if self.client_ca_file else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)


@dataclass(frozen=True)
class ClientTls:
    """Whom a channel trusts, and who it is itself.

    `ca_file` are the roots (None: those of the system), `cert_file` and `key_file` the client's own
    certificate for mTLS, `server_name` what the server's certificate must name if not its address.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials from the files as they are now. Raises StartFailed if one cannot be read."""
        try:
            return grpc.ssl_channel_credentials(
                root_certificates=_read(self.ca_file),
                private_key=_read(self.key_file),
                certificate_chain=_read(self.cert_file),
            )
        except OSError as error:
            raise StartFailed(f"cannot read a TLS file: {error}") from error


def _read(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()
