"""Who a bus is to its servers, and which servers it trusts: all of it in files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import nkeys

from bus.errors import AccessInvalid

__all__ = ["NatsAccess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAccess:
    """Files, read when a connection is made, so that renewed ones are taken at the next.

    `nkey_file` holds the seed of a user's nkey, which signs and is never sent; `credentials_file`
    is a NATS credentials file (JWT and seed). `ca_file` are the roots to trust instead of the
    system's; `cert_file` and `key_file` are the client's own certificate. Any of the three asks
    for TLS, as a `tls://` URL does.
    """

    credentials_file: Path | None = None
    nkey_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts; None leaves it to the URL. Raises OSError, of which ssl's errors are."""
        if self.ca_file is None and self.cert_file is None:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def check(self) -> None:
        """Raises AccessInvalid, which names the file, if one cannot be used as it is now."""
        for file in (self.credentials_file, self.nkey_file):
            if file is not None:
                try:
                    content = file.read_bytes().strip()
                    if file is self.nkey_file:
                        _read_seed(content)
                except OSError as error:
                    raise AccessInvalid(f"{file}: {error.strerror}") from error
                except nkeys.NkeysError as error:
                    raise AccessInvalid(
                        f"{file}: is not the seed of an nkey, which begins with SU"
                    ) from error
        try:
            self.tls()
        except OSError as error:
            files = ", ".join(
                str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file
            )
            raise AccessInvalid(f"{files}: {error.strerror or error}") from error


def _read_seed(content: bytes) -> None:
    nkeys.from_seed(bytearray(content))  # pyright: ignore[reportUnknownMemberType]
