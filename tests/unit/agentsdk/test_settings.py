"""Which environments name a gateway and a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsdk import SettingsInvalid, Token, read_settings

HERE = Path("/workspace")
ENOUGH = {"WARMPOOL_AGENT_URL": "https://gateway:7443", "WARMPOOL_AGENT_TOKEN": "t0ken"}


def test_the_smallest_environment() -> None:
    settings = read_settings({**ENOUGH, "HOME": "/home/dev"}, HERE)
    assert (settings.host, settings.port, settings.is_secure) == ("gateway", 7443, True)
    assert settings.token.value == "t0ken"
    assert settings.directory == HERE
    assert settings.shutdown_seconds == 8.0
    assert settings.script_env == {
        "WARMPOOL_AGENT_URL": "https://gateway:7443",
        "HOME": "/home/dev",
    }


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://gateway", ("gateway", 443, True)),
        ("http://localhost/", ("localhost", 80, False)),
        ("https://[::1]:7443/", ("::1", 7443, True)),
        (" http://127.0.0.1:1 ", ("127.0.0.1", 1, False)),
    ],
)
def test_urls(url: str, address: tuple[str, int, bool]) -> None:
    settings = read_settings({**ENOUGH, "WARMPOOL_AGENT_URL": url}, HERE)
    assert (settings.host, settings.port, settings.is_secure) == address


@pytest.mark.parametrize(
    "url",
    [
        "gateway:7443",
        "ftp://gateway",
        "http://",
        "http://gateway:port",
        "http://gateway:99999",
        "http://gateway/api",
        "http://me@gateway",
        "http://gateway?x=1",
        "http://[::1",
    ],
)
def test_urls_that_name_no_gateway(url: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({**ENOUGH, "WARMPOOL_AGENT_URL": url}, HERE)
    assert caught.value.name == "WARMPOOL_AGENT_URL"
    assert str(caught.value).startswith(f"WARMPOOL_AGENT_URL: {url!r}")
    assert str(caught.value).endswith("; allowed: http://host:port or https://host:port")


@pytest.mark.parametrize(
    "url", ["http://gateway:7443", "http://192.0.2.7:7443", "http://[fe80::1]"]
)
def test_a_token_goes_to_another_machine_in_clear_only_if_that_was_said(url: str) -> None:
    environ = {**ENOUGH, "WARMPOOL_AGENT_URL": url}

    with pytest.raises(SettingsInvalid) as caught:
        read_settings(environ, HERE)
    allowed = read_settings({**environ, "WARMPOOL_AGENT_ALLOW_PLAINTEXT": "true"}, HERE)

    assert str(caught.value) == (
        f"WARMPOOL_AGENT_URL: {url!r} would carry the agent's token over the network in clear;"
        " allowed: https://host:port, or http:// with WARMPOOL_AGENT_ALLOW_PLAINTEXT=true where"
        " something else encrypts"
    )
    assert not allowed.is_secure


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(
        SettingsInvalid, match=r"^WARMPOOL_AGENT_KEY_FILE: is not set; allowed: both"
    ):
        read_settings({**ENOUGH, "WARMPOOL_AGENT_CERT_FILE": "agent.crt"}, HERE)


def test_aliases_count_where_ours_are_empty() -> None:
    settings = read_settings(
        {
            "WARMPOOL_AGENT_URL": "",
            "CODER_AGENT_URL": "https://other:1/",
            "CODER_AGENT_TOKEN": "theirs",
            "WARMPOOL_AGENT_DIR": "below",
            "WARMPOOL_AGENT_SHUTDOWN_SECONDS": "2.5",
        },
        HERE,
    )
    assert (settings.host, settings.token.value) == ("other", "theirs")
    assert settings.directory == HERE / "below"
    assert settings.shutdown_seconds == 2.5
    assert "CODER_AGENT_TOKEN" not in settings.script_env


def test_ours_win_over_aliases() -> None:
    settings = read_settings({**ENOUGH, "CODER_AGENT_TOKEN": "theirs"}, HERE)
    assert settings.token.value == "t0ken"


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "umläut"])
def test_tokens_that_fit_no_header(token: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read_settings({**ENOUGH, "WARMPOOL_AGENT_TOKEN": token}, HERE)
    assert token not in str(caught.value)


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "1e9"])
def test_deadlines_that_are_none(seconds: str) -> None:
    with pytest.raises(SettingsInvalid, match="WARMPOOL_AGENT_SHUTDOWN_SECONDS"):
        read_settings({**ENOUGH, "WARMPOOL_AGENT_SHUTDOWN_SECONDS": seconds}, HERE)


def test_nothing_shows_the_token() -> None:
    settings = read_settings(ENOUGH, HERE)
    assert "t0ken" not in repr(settings)
    assert Token("a").fingerprint != Token("b").fingerprint
