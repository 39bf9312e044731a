"""Settings: which source wins, and what an operator reads when one is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from svckit.settings import ServiceSettings, SettingsError, load_settings, parse_settings
from svckit.settings_sources import HelpAsked
from svckit.tls import TlsSettings


class SampleSettings(ServiceSettings):
    """Settings of every kind."""

    service: ClassVar[str] = "sample"

    slots: int = Field(default=4, ge=1, le=64, description="how many jobs run at once")
    kinds: tuple[str, ...] = Field(default=("terraform",), description="what to run")
    tags: dict[str, str] = Field(default_factory=dict[str, str], description="for matching")
    key: SecretStr | None = Field(default=None, description="the secret")
    address: str | None = Field(default=None, description="whom to call")


class NeedySettings(ServiceSettings):
    """A setting without a default."""

    service: ClassVar[str] = "needy"

    database_url: str = Field(description="where the database is")


def refusal(argv: list[str], environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(SampleSettings, argv, environ)
    return str(caught.value)


def test_without_sources_every_setting_has_its_default() -> None:
    assert parse_settings(SampleSettings, [], {}) == SampleSettings()


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    config = tmp_path / "sample.toml"
    config.write_text('slots = 2\nlisten = "127.0.0.1:2"\nlog_level = "ERROR"\n')
    environ = {
        "WARMPOOL_SAMPLE_CONFIG": str(config),
        "WARMPOOL_SAMPLE_LISTEN": "127.0.0.1:3",
        "WARMPOOL_SAMPLE_LOG_LEVEL": "WARNING",
        "WARMPOOL_OTHER_SLOTS": "9",
    }

    settings = parse_settings(SampleSettings, ["--log-level", "DEBUG"], environ)

    assert settings == SampleSettings(slots=2, listen="127.0.0.1:3", log_level="DEBUG")


def test_the_flag_names_another_file_than_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "sample.toml"
    config.write_text('kinds = ["a", "b"]\n[tags]\nzone = "east"\n')

    settings = parse_settings(
        SampleSettings, [f"--config={config}"], {"WARMPOOL_SAMPLE_CONFIG": "/nowhere"}
    )

    assert settings == SampleSettings(kinds=("a", "b"), tags={"zone": "east"})


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--reflection"], SampleSettings(reflection=True)),
        (["--reflection=false"], SampleSettings()),
        (["--kinds", "terraform, process"], SampleSettings(kinds=("terraform", "process"))),
        (["--kinds="], SampleSettings(kinds=())),
        (
            ["--tags", "zone=east,note=a=b"],
            SampleSettings(tags={"zone": "east", "note": "a=b"}),
        ),
        (["--metrics-listen", ""], SampleSettings(metrics_listen="")),
        (["--address="], SampleSettings(address=None)),
        (["--drain-seconds", "-0"], SampleSettings(drain_seconds=0.0)),
    ],
)
def test_flags_are_read_by_the_kind_of_their_setting(
    argv: list[str], expected: SampleSettings
) -> None:
    assert parse_settings(SampleSettings, argv, {}) == expected


@pytest.mark.parametrize(
    ("argv", "environ", "line"),
    [
        (
            ["--slots", "many"],
            {},
            "--slots: 'many' is not allowed: input should be a valid integer, "
            "unable to parse string as an integer",
        ),
        (
            [],
            {"WARMPOOL_SAMPLE_SLOTS": "0"},
            "WARMPOOL_SAMPLE_SLOTS: '0' is not allowed: input should be greater than or equal to 1",
        ),
        (
            ["--log-level=LOUD"],
            {},
            "--log-level: 'LOUD' is not allowed: "
            "input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        ),
        (
            ["--listen", "here"],
            {},
            "--listen: 'here' is not allowed: "
            "address is 'here': allowed is host:port with a port from 0 to 65535",
        ),
        (["--slot", "1"], {}, "--slot: no such flag; --help lists all"),
        (["1"], {}, "1: no such flag; --help lists all"),
        (["--slots"], {}, "--slots: needs a value"),
        (["--slots=1", "--slots=2"], {}, "--slots: given twice; allowed is once"),
        (["--tags", "zone"], {}, "--tags: 'zone' is not allowed: key=value,key=value is"),
        (
            ["--tls-cert-file", "a.crt"],
            {},
            "tls_cert_file and tls_key_file: set both or neither",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_name_value_and_what_is_allowed(
    argv: list[str], environ: dict[str, str], line: str
) -> None:
    assert refusal(argv, environ) == line


def test_a_wrong_key_of_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    unknown, wrong, broken = (tmp_path / name for name in ("u.toml", "w.toml", "b.toml"))
    unknown.write_text("slot = 1\n")
    wrong.write_text("slots = 100\n")
    broken.write_text("slots =\n")

    assert refusal(["--config", str(unknown)], {}) == (
        f"{unknown}: slot: no such setting; --help lists all"
    )
    assert refusal(["--config", str(wrong)], {}) == (
        f"{wrong}: slots: 100 is not allowed: input should be less than or equal to 64"
    )
    assert refusal(["--config", str(broken)], {}).startswith(f"--config: cannot read {broken}: ")
    assert refusal([], {"WARMPOOL_SAMPLE_CONFIG": "/nowhere"}).startswith(
        "WARMPOOL_SAMPLE_CONFIG: cannot read /nowhere: "
    )


def test_a_missing_setting_is_told_by_both_names() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(NeedySettings, [], {})

    assert str(caught.value) == (
        "--database-url (WARMPOOL_NEEDY_DATABASE_URL) is required: where the database is"
    )


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "sample.toml"
    config.write_text("key = 12345\n")

    line = refusal(["--config", str(config)], {})

    assert line == f"{config}: key: (hidden) is not allowed: input should be a valid string"


def test_help_lists_every_setting_with_its_names_default_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(HelpAsked):
        parse_settings(SampleSettings, ["--slots", "many", "--help"], {})
    with pytest.raises(SystemExit) as caught:
        load_settings(SampleSettings, ["-h"])

    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert (
        "  --slots  (WARMPOOL_SAMPLE_SLOTS)\n      how many jobs run at once; default 4\n" in shown
    )
    assert [name for name in SampleSettings.model_fields if f"_{name.upper()})" not in shown] == []


def test_a_wrong_setting_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_settings(SampleSettings, ["--nonsense"])

    assert caught.value.code == 2
    assert capsys.readouterr().err == "sample: --nonsense: no such flag; --help lists all\n"


def test_every_setting_of_the_chassis_is_described() -> None:
    fields = ServiceSettings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_tls_comes_from_its_files() -> None:
    settings = parse_settings(SampleSettings, ["--tls-cert-file=a.crt", "--tls-key-file=a.key"], {})

    assert settings.tls() == TlsSettings(Path("a.crt"), Path("a.key"), None)
    assert SampleSettings().tls() is None


@pytest.mark.parametrize("listen", ["0.0.0.0:7080", "[::]:7080", "192.0.2.7:7080", "here.test:0"])
def test_what_other_machines_reach_is_encrypted_unless_that_was_said(listen: str) -> None:
    argv = ["--listen", listen]

    assert refusal(argv, {}) == (
        f"listen is {listen}, which other machines reach, and there is no TLS: set tls_cert_file"
        " and tls_key_file, or allow_plaintext where something else encrypts"
    )
    assert parse_settings(SampleSettings, [*argv, "--allow-plaintext"], {}).tls() is None
    tls = ["--tls-cert-file=a", "--tls-key-file=b"]
    assert parse_settings(SampleSettings, [*argv, *tls], {}).tls() is not None


def test_names_of_clients_need_roots_to_vouch_for_them() -> None:
    argv = ["--tls-cert-file=a", "--tls-key-file=b", "--tls-client-names=spiffe://pool/agentgw"]

    assert refusal(argv, {}) == "tls_client_names needs tls_client_ca_file"
