"""The environment of a terraform process: an allow-list, and what we add.

Promises: a variable reaches templates only if its name is allowed; our own credentials, database
and broker settings never do, because nobody lists them; every `CODER_*` value travels through the
provider's socket and never through the environment, where any local-exec could read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["build_environment", "list_credentials"]

_FIXED = {
    "TF_IN_AUTOMATION": "1",
    "TF_INPUT": "0",
    "CHECKPOINT_DISABLE": "1",
    "TF_DISABLE_PLUGIN_TLS": "1",  # providers are our own children on private sockets
    "GOGC": "400",  # a tenth less wall time; the process is short-lived
}
_REATTACH = "TF_REATTACH_PROVIDERS"
_CREDENTIAL_PARTS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE", "_KEY")


def build_environment(
    ours: Mapping[str, str],
    *,
    allowed: Iterable[str],
    added: Mapping[str, str],
    cli_config_file: Path,
    data_dir: Path,
    reattach: Mapping[str, str],
) -> dict[str, str]:
    """Returns what the process sees. `reattach` wins over `added`, which wins over ours; providers
    that `added` says are served already are served beside ours.
    """
    patterns = tuple(allowed)
    inherited = {
        name: value
        for name, value in ours.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    return {
        **_FIXED,
        **inherited,
        **added,
        "TF_CLI_CONFIG_FILE": str(cli_config_file),
        "TF_DATA_DIR": str(data_dir),
        **reattach,
        **_join_reattached(added, reattach),
    }


def _join_reattached(added: Mapping[str, str], reattach: Mapping[str, str]) -> dict[str, str]:
    if _REATTACH not in added or _REATTACH not in reattach:
        return {}
    return {_REATTACH: json.dumps(json.loads(added[_REATTACH]) | json.loads(reattach[_REATTACH]))}


def list_credentials(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values a log must not show, told by their names."""
    return tuple(
        value
        for name, value in environment.items()
        if any(part in name.upper() for part in _CREDENTIAL_PARTS)
        and name not in ("SSL_CERT_FILE", "SSL_CERT_DIR")
    )
