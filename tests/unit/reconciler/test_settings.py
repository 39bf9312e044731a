"""What the reconciler will not start without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.core.notifications.retries import retry_delay
from reconciler.loops.notifications import SendSettings
from reconciler.wiring.app import read_send_settings
from reconciler.wiring.settings import ReconcilerSettings
from svckit.errors import StartFailed
from svckit.settings import load_settings


def settings(*argv: str) -> ReconcilerSettings:
    return load_settings(ReconcilerSettings, argv)


def test_tfstate_is_not_stored_in_clear_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"state_key_file: missing; .*allow_plain_state"):
        settings().read_state_cipher()
    assert settings("--allow-plain-state").read_state_cipher().is_plain
    key = tmp_path / "key"
    with pytest.raises(StartFailed, match="cannot read"):
        settings("--state-key-file", str(key)).read_state_cipher()
    key.write_text("short")
    with pytest.raises(StartFailed, match="line 1 has 5 characters"):
        settings("--state-key-file", str(key)).read_state_cipher()
    key.write_text("k" * 43)
    assert not settings("--state-key-file", str(key)).read_state_cipher().is_plain


def test_agents_are_not_sent_where_they_would_refuse_to_go(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        settings("--agent-url=http://gateway.test:7443")

    assert capsys.readouterr().err.startswith(
        "reconciler: agent_url is http://gateway.test:7443: agents on other machines would send"
        " their tokens in clear, and refuse to; give https://, or set allow_plaintext here and"
    )
    assert settings("--agent-url=https://gateway.test").agent_url == "https://gateway.test"
    assert settings("--agent-url=http://gateway.test", "--allow-plaintext").allow_plaintext


def test_a_receiver_may_be_away_for_a_day() -> None:
    sending = read_send_settings(settings())
    assert sending == SendSettings()
    shortest, longest = (
        sum(
            (
                retry_delay(attempt, first_delay_seconds=sending.first_delay_seconds, dice=dice)
                for attempt in range(1, sending.attempts_max)
            ),
            timedelta(),
        )
        for dice in (0.0, 1.0)
    )
    assert timedelta(days=1) < shortest < longest < timedelta(days=2, hours=4)
