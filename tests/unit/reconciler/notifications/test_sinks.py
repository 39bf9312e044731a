"""Which sinks an operator's settings make, and how settings that cannot work end the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.notifications.kinds import Channel
from reconciler.wiring.settings import ReconcilerSettings
from reconciler.wiring.sinks import read_sinks
from svckit.errors import StartFailed
from svckit.settings import parse_settings
from testkit.clock import SettableClock

SECRET = "a secret that nobody may see"
URL = "https://hooks.test/T0/s3cret"


def settings(directory: Path, **given: str) -> ReconcilerSettings:
    """Settings of that environment; `FILE:` values become files."""
    environ: dict[str, str] = {}
    for name, value in given.items():
        if value.startswith("FILE:"):
            path = directory / name
            path.write_text(value.removeprefix("FILE:"))
            value = str(path)
        environ[f"WARMPOOL_RECONCILER_{name.upper()}"] = value
    return parse_settings(ReconcilerSettings, [], environ)


MAIL = {"smtp_host": "mail.test", "smtp_from": "warmpool@example.org"}
HOOK_KEY = {"webhook_secret_file": f"FILE:{SECRET}\n"}
HOOK = {"webhook_url": URL, "webhook_secret_file": f"FILE:{SECRET}\n"}


def test_nothing_is_sent_where_nothing_is_set(tmp_path: Path) -> None:
    assert read_sinks(settings(tmp_path), SettableClock()) == ()


def test_each_setting_makes_its_sink_and_shows_no_secret(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        **MAIL,
        **HOOK,
        smtp_username="warmpool",
        smtp_password_file=f"FILE:{SECRET}",
        apprise_urls_file=f"FILE:json://user:{SECRET.split()[1]}@a.test\n\njson://b.test",
    )
    sinks = read_sinks(given, SettableClock())
    assert [sink.target.channel for sink in sinks] == [
        Channel.EMAIL,
        Channel.WEBHOOK,
        Channel.APPRISE,
        Channel.APPRISE,
    ]
    assert "s3cret" not in repr(given)
    assert SECRET not in f"{given!r}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"smtp_host": "mail.test"}, "smtp_from: missing"),
        (MAIL | {"smtp_from": "nobody"}, "smtp_from is not an address"),
        (MAIL | {"smtp_username": "x"}, "give both, or neither"),
        (MAIL | {"smtp_password_file": "FILE:x"}, "give both, or neither"),
        (
            MAIL | {"smtp_username": "x", "smtp_password_file": "FILE:x", "smtp_tls": "none"},
            "would send the password in clear",
        ),
        (MAIL | {"smtp_username": "x", "smtp_password_file": "/nowhere"}, "cannot read /nowhere"),
        (MAIL | {"notification_ca_file": "/nowhere"}, "notification_ca_file: cannot read"),
        (MAIL | {"notification_ca_file": "FILE:no certificate"}, "notification_ca_file"),
        (MAIL | {"smtp_tls": "none"}, "smtp_host: notifications would go to another machine"),
        (HOOK | {"webhook_url": "http://a.test/s3cret"}, "webhook_url: notifications would go"),
        ({"webhook_url": URL}, "webhook_secret_file: missing"),
        (HOOK_KEY | {"webhook_url_file": "FILE:"}, "webhook_url_file: not an http"),
        (HOOK_KEY | {"webhook_url_file": "/nowhere"}, "webhook_url_file: cannot read /nowhere"),
        (
            HOOK_KEY | {"webhook_url_file": "FILE:http://a.test/s3cret"},
            "webhook_url_file: notifications would go",
        ),
        (HOOK | {"webhook_url": "ftp://hooks.test"}, "webhook_url: not an http"),
        (HOOK | {"webhook_url": "https://[s3cret"}, "webhook_url: not an http"),
        (HOOK | {"webhook_secret_file": "FILE:short"}, "at least 16"),
        ({"apprise_urls_file": "FILE:\nnothing://s3cret"}, "line 2"),
    ],
)
def test_what_cannot_work_ends_the_start_and_says_why(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    with pytest.raises(StartFailed) as refused:
        read_sinks(settings(tmp_path, **given), SettableClock())
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_url_of_a_webhook_may_be_in_a_file_which_comes_first(tmp_path: Path) -> None:
    given = settings(
        tmp_path, **HOOK | {"webhook_url": "not one"}, webhook_url_file=f"FILE:{URL}\n"
    )
    (sink,) = read_sinks(given, SettableClock())
    assert sink.target.channel is Channel.WEBHOOK
