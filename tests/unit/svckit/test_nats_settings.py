"""Who a service is at NATS: what its settings refuse."""

from __future__ import annotations

import pytest

from svckit.nats_settings import NatsSettings
from svckit.settings import SettingsError, parse_settings


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--nats-nkey-file", "a.nk", "--nats-credentials-file", "a.creds"],
            "nats_nkey_file and nats_credentials_file: set one of them",
        ),
        (
            ["--nats-cert-file", "a.crt"],
            "nats_cert_file and nats_key_file: set both or neither",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}$"):
        parse_settings(NatsSettings, argv, {})


def test_the_url_is_not_shown() -> None:
    settings = parse_settings(NatsSettings, ["--nats-url", "nats://me:hunter2@host:4222"], {})

    assert "hunter2" not in repr(settings)
