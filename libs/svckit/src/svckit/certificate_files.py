"""Looks at the certificates a process was given: are they fit for use, and until when?

The files are read again when they change. A certificate that was renewed and cannot be used is told
of here, while `svckit.tls` goes on with the former.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from svckit.certificates import Certificate, describe_problem
from svckit.system import Clock
from svckit.tls import check_pair, stamp_of

__all__ = ["CertificateFile", "CertificateFiles"]


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file with certificates, and the setting that names it. With a `key_file` the first of them
    is one that is shown to others; without, they are roots that others' are signed by.
    """

    setting: str
    file: Path
    key_file: Path | None = None


class CertificateFiles:
    """Those of one process."""

    def __init__(self, files: Sequence[CertificateFile], clock: Clock) -> None:
        """Nothing is read yet."""
        self._files = tuple(files)
        self._clock = clock
        self._read: dict[CertificateFile, tuple[object, Certificate]] = {}

    def look(self) -> tuple[Certificate, ...]:
        """What is in them now."""
        return tuple(self._look_at(file) for file in self._files)

    async def probe(self) -> str:
        """For readiness: everything that somebody should mend."""
        now = self._clock.now()
        return "; ".join(filter(None, (describe_problem(each, now) for each in self.look())))

    def _look_at(self, file: CertificateFile) -> Certificate:
        stamp = (stamp_of(file.file), file.key_file and stamp_of(file.key_file))
        known = self._read.get(file)
        if known is None or known[0] != stamp:
            known = self._read[file] = (stamp, _read(file))
        return known[1]


def _read(file: CertificateFile) -> Certificate:
    try:
        found = x509.load_pem_x509_certificates(file.file.read_bytes())
        if file.key_file is not None:
            check_pair(file.file, file.key_file)
            return _describe(file.setting, found[0])
        # of roots the last one to end counts: a former one may lie beside
        return _describe(file.setting, max(found, key=lambda each: each.not_valid_after_utc))
    except OSError as error:
        reason = error.strerror and f"{error.filename}: {error.strerror}"
        return Certificate(setting=file.setting, problem=reason or str(error))
    except ValueError as error:
        return Certificate(setting=file.setting, problem=f"{file.file} holds none: {error}")
    except Exception as error:  # TLS takes certificates with extensions that cannot be read here
        reason = f"{type(error).__name__}: {error}"
        return Certificate(setting=file.setting, problem=f"{file.file} cannot be read: {reason}")


def _describe(setting: str, certificate: x509.Certificate) -> Certificate:
    try:
        alternatives = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        alternatives = ()
    common = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        setting=setting,
        issuer=str(common[0].value) if common else certificate.issuer.rfc4514_string(),
        names=tuple(str(each.value) for each in alternatives),
        ends_at=certificate.not_valid_after_utc,
    )
