"""What a process says of the certificates it was given: fit for use or not, and until when."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from svckit.certificate_files import CertificateFile, CertificateFiles
from svckit.certificates import Certificate, bears_name, describe_problem, has_expired
from svckit.settings import ServiceSettings
from testkit.certificates import Identity, make_identity
from testkit.clock import EPOCH, SettableClock


def a_certificate(end: datetime | None = None, *names: str) -> Certificate:
    return Certificate(setting="tls_cert_file", issuer="root", names=names, ends_at=end)


@pytest.mark.parametrize(
    ("left", "said", "expired"),
    [
        (timedelta(days=14), "", False),
        (timedelta(days=14, seconds=-1), "ends on 2030-01-14, in 13 days", False),
        (timedelta(hours=1), "ends on 2030-01-01, in 0 days", False),
        (timedelta(), "has expired on 2030-01-01; nobody trusts it any more", True),
    ],
)
def test_what_ends_soon_is_told(left: timedelta, said: str, expired: bool) -> None:
    found = a_certificate(EPOCH + left)

    assert describe_problem(found, EPOCH) == (said and f"tls_cert_file: {said}")
    assert has_expired(found, EPOCH) == expired


@pytest.mark.parametrize(
    ("name", "host", "bears"),
    [
        ("a.example.com", "A.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "b.a.example.com", False),
        ("*.example.com", "example.com", False),
        ("192.0.2.7", "192.0.2.7", True),
    ],
)
def test_a_name_is_borne_as_clients_see_it(name: str, host: str, bears: bool) -> None:
    assert bears_name(a_certificate(None, "other", name), host) == bears


def files_of(*files: tuple[Path, Path | None]) -> CertificateFiles:
    given = [CertificateFile(f"file{n}", *pair) for n, pair in enumerate(files)]
    return CertificateFiles(given, SettableClock(EPOCH))


async def test_a_certificate_is_told_with_who_signed_it_its_names_and_its_end(
    tmp_path: Path,
) -> None:
    root = make_identity(tmp_path, "root")
    end = EPOCH + timedelta(days=90)
    leaf = make_identity(tmp_path, "edge", issuer=root, uris=["spiffe://test/edge"], end=end)
    files = files_of((leaf.cert_file, leaf.key_file), (root.cert_file, None))

    shown, roots = files.look()

    assert shown == Certificate(
        setting="file0",
        issuer="root",
        names=("127.0.0.1", "edge.test", "spiffe://test/edge"),
        ends_at=end,
    )
    assert (roots.setting, roots.issuer, roots.problem) == ("file1", "root", "")
    assert await files.probe() == ""


def lose_certificate(identity: Identity) -> None:
    identity.cert_file.unlink()


def lose_key(identity: Identity) -> None:
    identity.key_file.unlink()


def cut_off(identity: Identity) -> None:
    identity.cert_file.write_text("-----BEGIN CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose_certificate, "file0: .*edge.crt: No such file or directory"),
        (lose_key, "file0: .*edge.key: No such file or directory"),
        (cut_off, "file0: .*edge.crt holds none: "),
    ],
)
async def test_what_cannot_be_used_is_told_with_its_reason(
    tmp_path: Path, spoil: Callable[[Identity], None], said: str
) -> None:
    edge = make_identity(tmp_path, "edge")
    files = files_of((edge.cert_file, edge.key_file))
    assert await files.probe() == ""

    spoil(edge)

    assert re.match(said, await files.probe())


async def test_a_certificate_that_cannot_be_read_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe(*_: object) -> Certificate:
        raise RuntimeError("an extension is there twice")  # as the parser does, lazily

    edge = make_identity(tmp_path, "edge")
    monkeypatch.setattr("svckit.certificate_files._describe", describe)
    said = await files_of((edge.cert_file, edge.key_file)).probe()
    assert said.endswith("edge.crt cannot be read: RuntimeError: an extension is there twice")


async def test_a_key_of_another_certificate_is_told_until_the_renewal_is_whole(
    tmp_path: Path,
) -> None:
    edge, other = make_identity(tmp_path, "edge"), make_identity(tmp_path, "other")
    files = files_of((edge.cert_file, edge.key_file))

    edge.key_file.write_bytes(other.key_file.read_bytes())
    between = await files.probe()
    edge.cert_file.write_bytes(other.cert_file.read_bytes())
    after = await files.probe()

    assert between.startswith(f"file0: {edge.cert_file} with the key {edge.key_file}: KEY_VALUES")
    assert after == ""


async def test_of_two_roots_the_one_that_stays_counts(tmp_path: Path) -> None:
    former = make_identity(tmp_path, "former", end=EPOCH - timedelta(days=1))
    root, both = make_identity(tmp_path, "root"), tmp_path / "both"
    both.write_bytes(former.cert_file.read_bytes() + root.cert_file.read_bytes())

    assert await files_of((both, None)).probe() == ""
    assert "has expired" in await files_of((former.cert_file, None)).probe()


def test_every_file_that_a_setting_names_is_looked_at() -> None:
    class Settings(ServiceSettings):
        reconciler_cert_file: Path | None = None
        reconciler_key_file: Path | None = None
        nats_ca_file: Path | None = None
        key_file: Path | None = None

    named = Settings(
        tls_cert_file=Path("a.crt"),
        tls_key_file=Path("a.key"),
        reconciler_cert_file=Path("b.crt"),
        reconciler_key_file=Path("b.key"),
        nats_ca_file=Path("c.crt"),
        key_file=Path("token"),
    )

    assert named.certificate_files() == (
        CertificateFile("tls_cert_file", Path("a.crt"), Path("a.key")),
        CertificateFile("reconciler_cert_file", Path("b.crt"), Path("b.key")),
        CertificateFile("nats_ca_file", Path("c.crt")),
    )
    assert Settings().certificate_files() == ()
