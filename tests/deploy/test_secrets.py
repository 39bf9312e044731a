"""The tool that makes an installation's secrets: certificates that strict readers take, and that
are renewed under the same names.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("reconciler", "agentgw", "provisionerd", "nats", "postgres", "people")


def make(directory: Path, *flags: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_secrets.py"), str(directory), *flags]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def read_all(directory: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    files = (file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): file.read_bytes() for file in files}


def shake_hands(secrets: Path, client: str, server: str, name: str) -> None:
    """A TLS handshake in memory, in which each checks the other as strictly as it can be done."""
    here = ssl.create_default_context(cafile=secrets / "ca.crt")
    there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=secrets / "ca.crt")
    there.verify_mode = ssl.CERT_REQUIRED
    for context, who in ((here, client), (there, server)):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(secrets / who / "tls.crt", secrets / who / "tls.key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = here.wrap_bio(down, up, server_hostname=name)
    answering = there.wrap_bio(up, down, server_side=True)
    for side in (asking, answering, asking, answering):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert asking.getpeercert()
    assert answering.getpeercert()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("installation") / "secrets"
    make(directory, "--name", "warmpool.example.com", "--name", "192.0.2.7")
    return directory


@pytest.mark.parametrize("who", SERVICES)
def test_each_trusts_each_however_strictly_it_checks(secrets: Path, who: str) -> None:
    """As Python does by itself from 3.13 on."""
    shake_hands(secrets, client=who, server="reconciler", name="warmpool.example.com")
    shake_hands(secrets, client="agentgw", server=who, name="192.0.2.7")


def test_a_name_that_is_not_in_it_is_refused(secrets: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        shake_hands(secrets, client="people", server="reconciler", name="elsewhere.example.com")


def test_what_is_there_stays_and_what_is_renewed_has_the_same_names(secrets: Path) -> None:
    first = read_all(secrets)
    make(secrets)
    assert read_all(secrets) == first

    make(secrets, "--renew", "--name", "new.example.com")

    changed = {path for path, content in read_all(secrets).items() if content != first[path]}
    assert changed == {f"{who}/tls.{kind}" for who in SERVICES for kind in ("crt", "key")}
    for name in ("warmpool.example.com", "192.0.2.7", "new.example.com", "localhost"):
        shake_hands(secrets, client="people", server="reconciler", name=name)
    private = (file for file in secrets.rglob("tls.*") if file.stat().st_mode & 0o077 == 0)
    assert len(list(private)) == 2 * len(SERVICES)


def test_a_pair_that_does_not_belong_together_is_made_anew(secrets: Path) -> None:
    key = secrets / "agentgw/tls.key"
    key.write_bytes((secrets / "nats/tls.key").read_bytes())  # a renewal was ended between the two
    first = read_all(secrets)

    make(secrets)

    changed = {path for path, content in read_all(secrets).items() if content != first[path]}
    assert changed == {"agentgw/tls.key", "agentgw/tls.crt"}
    shake_hands(secrets, client="people", server="agentgw", name="localhost")
