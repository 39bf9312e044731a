"""TLS from files, for servers and channels, renewed without a restart.

A server looks at its files again at each handshake, a channel at each call. What cannot be read,
roots that are none or cut off, or a key that does not belong to its certificate (as between two
writes of a renewal) leaves the former in use, and is logged once.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

import grpc

from svckit.errors import StartFailed
from svckit.log import get_logger

__all__ = ["ClientTls", "Followed", "TlsSettings", "check_pair", "stamp_of"]

_log = get_logger(__name__)

Loaded = TypeVar("Loaded")


class Followed(Generic[Loaded]):
    """What is made of files, made anew when one of them changes."""

    def __init__(self, files: tuple[Path, ...], load: Callable[[], Loaded]) -> None:
        """Load once; raises StartFailed if that is impossible. `load` raises OSError."""
        self._files = files
        self._load = load
        self._stamp = self._look()
        try:
            self.now = load()
            """As the files were when they were last fit for use."""
        except OSError as error:
            raise StartFailed(f"cannot read a TLS file: {error}") from error

    def renew(self) -> Loaded | None:
        """What the files have become; None while they are as they were, or of no use."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            self.now = self._load()
        except OSError as error:
            _log.warning("A TLS file cannot be used; the former stays.", action="tls", error=error)
            return None
        _log.info("TLS files have changed and are in use.", action="tls")
        return self.now

    def _look(self) -> tuple[tuple[int, int], ...]:
        return tuple(stamp_of(file) for file in self._files)


@dataclass(frozen=True)
class TlsSettings:
    """A server's certificate chain and key, PEM. `client_ca_file`: clients need one too, and with
    `client_names` one that bears one of these names.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_names: tuple[str, ...] = ()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files. Raises StartFailed if one cannot be used."""
        files = Followed(
            tuple(file for file in (self.cert_file, self.key_file, self.client_ca_file) if file),
            self._load,
        )
        # The stubs do not know that None stands for "unchanged".
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", files.renew)
        return grpc.dynamic_ssl_server_credentials(
            files.now, fetcher, require_client_authentication=self.client_ca_file is not None
        )

    def _load(self) -> grpc.ServerCertificateConfiguration:
        check_pair(self.cert_file, self.key_file)
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        ca = _read_roots(self.client_ca_file)
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

    @property
    def files(self) -> tuple[Path, ...]:
        """All that there are."""
        return tuple(file for file in (self.ca_file, self.cert_file, self.key_file) if file)

    def follow(self) -> Followed[grpc.ChannelCredentials]:
        """Credentials that follow the files. Raises StartFailed if one cannot be used."""
        return Followed(self.files, self._load)

    def _load(self) -> grpc.ChannelCredentials:
        if (self.cert_file is None) != (self.key_file is None):
            raise StartFailed("a client certificate and its key: give both files or neither")
        if self.cert_file is not None and self.key_file is not None:
            check_pair(self.cert_file, self.key_file)
        return grpc.ssl_channel_credentials(
            root_certificates=_read_roots(self.ca_file),
            private_key=_read(self.key_file),
            certificate_chain=_read(self.cert_file),
        )


def check_pair(cert_file: Path, key_file: Path) -> None:
    """Raises OSError for anything but a certificate and its own key, unencrypted."""
    cert_file.read_bytes()  # for an error that names the file
    key_file.read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except ssl.SSLError as error:  # an OSError without any file in it
        raise OSError(f"{cert_file} with the key {key_file}: {error.reason or error}") from error


def _read_roots(file: Path | None) -> bytes | None:
    """Raises OSError for anything but certificates, all of them whole: gRPC takes whatever it is
    given, and then trusts nobody.
    """
    if file is None:
        return None
    content = file.read_bytes()  # for an error that names the file
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise OSError(f"{file}: no usable roots: {error.reason or error}") from error
    if not context.cert_store_stats()["x509"]:
        raise OSError(f"{file}: holds no certificate")
    return content


def stamp_of(file: Path) -> tuple[int, int]:
    """Changes when a file does; a file that is gone counts as a change, too."""
    try:
        stat = file.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_ino)


def _read(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()
