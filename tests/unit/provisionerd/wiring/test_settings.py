"""What an operator may say, by the names the documentation uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisionerd.wiring.settings import ProvisionerdSettings
from svckit.settings import SettingsError, parse_settings
from svckit.tls import ClientTls

NEEDED = {
    "WARMPOOL_PROVISIONERD_RECONCILER_ADDRESS": "http://127.0.0.1:1",
    "WARMPOOL_PROVISIONERD_KEY_FILE": "/k",
    "WARMPOOL_PROVISIONERD_DATA_DIR": "/d",
}


def test_little_needs_to_be_said() -> None:
    settings = parse_settings(ProvisionerdSettings, [], NEEDED)
    assert (settings.key_file, settings.data_dir) == (Path("/k"), Path("/d"))
    assert settings.provisioners == ("terraform", "process")
    assert settings.slots >= 1
    assert settings.name
    assert settings.tags == {}
    assert settings.reconciler_tls() is None


def test_everything_can_be_said() -> None:
    flags = [
        *("--provisioners", "process", "--slots", "7", "--tags", "a=b,c=d", "--name", "n"),
        *("--env-allowed", "AWS_*,HOME", "--terraform-path", "/t", "--reconciler-ca-file", "/ca"),
    ]
    settings = parse_settings(ProvisionerdSettings, flags, NEEDED)
    assert (settings.provisioners, settings.slots, settings.name) == (("process",), 7, "n")
    assert (settings.tags, settings.env_allowed) == ({"a": "b", "c": "d"}, ("AWS_*", "HOME"))
    assert settings.terraform_path == "/t"
    assert settings.reconciler_tls() == ClientTls(ca_file=Path("/ca"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--slots", "0"], "--slots: '0' is not allowed"),
        (["--provisioners", "docker"], "--provisioners: "),
        (["--provisioners", "process,process"], "each may be named once"),
        (["--provisioners", ""], "--provisioners: "),
        (["--tags", "gpu"], "key=value,key=value"),
    ],
)
def test_what_is_wrong_is_named(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(ProvisionerdSettings, flags, NEEDED)
