"""Where the gateway is, with which token, and where the agent keeps its memory.

| variable | alias | meaning |
|---|---|---|
| `WARMPOOL_AGENT_URL` | `CODER_AGENT_URL` | `http://host:port` (plaintext) or `https://host:port` |
| `WARMPOOL_AGENT_TOKEN` | `CODER_AGENT_TOKEN` | the agent's token |
| `WARMPOOL_AGENT_TOKEN_FILE` | `CODER_AGENT_TOKEN_FILE` | its file; read again when refused |
| `WARMPOOL_AGENT_DIR` | | memory and scripts; default: the current directory |
| `WARMPOOL_AGENT_CA_FILE` | | PEM certificates to trust instead of the machine's |
| `WARMPOOL_AGENT_CERT_FILE`, `…_KEY_FILE` | | the agent's own certificate, for mTLS |
| `WARMPOOL_AGENT_ALLOW_PLAINTEXT` | | `true`: http:// to another machine, which shows the token |
| `WARMPOOL_AGENT_SHUTDOWN_SECONDS` | | longest orderly end; default 8 |

A variable that is set to nothing counts as not set; ours win over their aliases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from agentsdk.errors import SettingsInvalid

__all__ = ["AgentSettings", "Token", "is_loopback", "read_settings"]

_SHUTDOWN_SECONDS = 8.0  # below the ten seconds most supervisors grant
_SECRETS = frozenset(
    {
        "WARMPOOL_AGENT_TOKEN",
        "WARMPOOL_AGENT_TOKEN_FILE",
        "CODER_AGENT_TOKEN",
        "CODER_AGENT_TOKEN_FILE",
    }
)


class Token:
    """The agent's token, which is never shown."""

    def __init__(self, value: str, path: Path | None = None, name: str = "token") -> None:
        """`path`: the file `value` came from, if any. Raises `SettingsInvalid`, naming `name`."""
        self._value = _check_token(name, value)
        self._path = path
        self._name = name

    @property
    def value(self) -> str:
        """The token itself."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Tells tokens apart without showing any."""
        return sha256(self._value.encode()).hexdigest()[:16]

    def reload(self) -> None:
        """Reads the file again, if there is one; an unreadable file changes nothing."""
        if self._path is None:
            return
        try:
            self._value = _check_token(self._name, self._path.read_text("utf-8").strip())
        except (OSError, ValueError, SettingsInvalid):
            return

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything an agent must be told."""

    host: str
    port: int
    is_secure: bool
    token: Token
    directory: Path
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    shutdown_seconds: float = _SHUTDOWN_SECONDS
    script_env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What scripts inherit from the agent: everything but its token."""


def read_settings(environ: Mapping[str, str], current_directory: Path) -> AgentSettings:
    """The settings an environment names. Raises `SettingsInvalid`."""
    host, port, is_secure = _read_url(environ)
    cert_file, key_file = _read_pair(environ)
    directory = Path(environ.get("WARMPOOL_AGENT_DIR") or current_directory).expanduser()
    return AgentSettings(
        host=host,
        port=port,
        is_secure=is_secure,
        token=_read_token(environ),
        directory=current_directory / directory,
        ca_file=_read_path(environ, "WARMPOOL_AGENT_CA_FILE"),
        cert_file=cert_file,
        key_file=key_file,
        shutdown_seconds=_read_shutdown_seconds(environ),
        script_env={name: value for name, value in environ.items() if name not in _SECRETS},
    )


def _find(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of these variables that is set, with its value; else the first, with ""."""
    for name in names:
        if value := environ.get(name, "").strip():
            return name, value
    return names[0], ""


def _read_url(environ: Mapping[str, str]) -> tuple[str, int, bool]:
    name, url = _find(environ, "WARMPOOL_AGENT_URL", "CODER_AGENT_URL")
    allowed = "http://host:port or https://host:port"
    if not url:
        raise SettingsInvalid(name, "is not set", allowed)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsInvalid(name, f"{url!r} is no URL ({error})", allowed) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsInvalid(name, f"{url!r} is no http or https URL", allowed)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise SettingsInvalid(name, f"{url!r} holds more than an address", allowed)
    is_secure = parts.scheme == "https"
    if not (is_secure or is_loopback(parts.hostname) or _allows_plaintext(environ)):
        raise SettingsInvalid(
            name,
            f"{url!r} would carry the agent's token over the network in clear",
            "https://host:port, or http:// with WARMPOOL_AGENT_ALLOW_PLAINTEXT=true where"
            " something else encrypts",
        )
    return parts.hostname, port or (443 if is_secure else 80), is_secure


def is_loopback(host: str) -> bool:
    """Whether what goes there stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _allows_plaintext(environ: Mapping[str, str]) -> bool:
    name, value = _find(environ, "WARMPOOL_AGENT_ALLOW_PLAINTEXT")
    if value.lower() not in ("", "true", "false"):
        raise SettingsInvalid(name, f"{value!r}", "true or false")
    return value.lower() == "true"


def _read_path(environ: Mapping[str, str], name: str) -> Path | None:
    _, value = _find(environ, name)
    return Path(value) if value else None


def _read_pair(environ: Mapping[str, str]) -> tuple[Path | None, Path | None]:
    names = ("WARMPOOL_AGENT_CERT_FILE", "WARMPOOL_AGENT_KEY_FILE")
    certificate, key = (_read_path(environ, name) for name in names)
    if (certificate is None) != (key is None):
        missing = names[0] if certificate is None else names[1]
        raise SettingsInvalid(missing, "is not set", f"both of {' and '.join(names)}, or neither")
    return certificate, key


def _read_token(environ: Mapping[str, str]) -> Token:
    name, value = _find(environ, "WARMPOOL_AGENT_TOKEN", "CODER_AGENT_TOKEN")
    if value:
        return Token(value, name=name)
    file_name, file = _find(environ, "WARMPOOL_AGENT_TOKEN_FILE", "CODER_AGENT_TOKEN_FILE")
    if not file:
        raise SettingsInvalid(name, "is not set", f"a token here, or {file_name} naming its file")
    path = Path(file)
    try:
        value = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsInvalid(
            file_name, f"cannot be read ({error})", "a readable file that holds the token"
        ) from error
    return Token(value, path, file_name)


def _check_token(name: str, value: str) -> str:
    """The token, if it can be sent in a header."""
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        wrong = "holds no token" if not value else "holds characters no token has"
        raise SettingsInvalid(name, wrong, "printable ASCII without spaces")
    return value


def _read_shutdown_seconds(environ: Mapping[str, str]) -> float:
    name, value = _find(environ, "WARMPOOL_AGENT_SHUTDOWN_SECONDS")
    if not value:
        return _SHUTDOWN_SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3_600:
        raise SettingsInvalid(name, f"{value!r}", "seconds above 0, at most 3600")
    return seconds
