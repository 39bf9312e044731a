"""A cloud on this machine: a moto server, and the real AWS provider where there is one.

moto is not among what the project installs; `make corpus` puts it into an environment of its own.
The provider is nowhere to be had but from Terraform's registry: it is used if somebody put it where
Terraform looks for providers, or into a directory that is named.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from embedded import find_free_port
from provisionerd.terraform import find_terraform

__all__ = ["aws_environment", "find_provider", "list_places", "serve_aws"]

ADDRESS = ("registry.terraform.io", "hashicorp", "aws")
_BINARY = re.compile(r"terraform-provider-aws_v(\d+\.\d+\.\d+)(?:_x\d+)?")
_PLATFORM = re.compile(r"^on (\w+)$", re.MULTILINE)
COMMAND_SECONDS = 60.0


def list_places(environ: Mapping[str, str]) -> list[Path]:
    """Where the provider may be: what `AWS_PROVIDER_DIR` names, then where Terraform looks."""
    named = [environ.get(name) for name in ("AWS_PROVIDER_DIR", "TF_PLUGIN_CACHE_DIR")]
    home = Path(environ.get("HOME", "/"))
    return [
        *(Path(name) for name in named if name),
        home / ".terraform.d" / "plugins",
        home / ".terraform.d" / "plugin-cache",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
    ]


def find_provider(places: Iterable[Path], scratch: Path, platform: str = "") -> Path | None:
    """A mirror with the AWS provider in it: one of the places, or, for a place that has the bare
    executable, one that is laid out below `scratch`. None if no place has it.
    """
    for place in places:
        if any(place.glob("/".join((*ADDRESS, "*")))):
            return place
        for file in sorted(place.glob("terraform-provider-aws_v*")):
            if found := _BINARY.fullmatch(file.name):
                platform = platform or _ask_platform()
                package = scratch.joinpath(*ADDRESS, found[1], platform)
                package.mkdir(parents=True)
                try:
                    os.link(file, package / file.name)
                except OSError:  # another file system
                    shutil.copy(file, package / file.name)
                return scratch
    return None


def aws_environment(url: str) -> dict[str, str]:
    """What sends the provider, unchanged, to the server instead of to AWS."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


@contextmanager
def serve_aws(python: Path, directory: Path) -> Generator[str]:
    """Runs a moto server by an interpreter that has it, until the block is left; yields its URL.
    Raises OSError with its last words if it does not come up.
    """
    port = find_free_port()
    log = directory / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(COMMAND_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns when it says that it listens."""
    while "Running on" not in log.read_text(errors="replace"):
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(0.05)
            raise OSError(f"moto ended with {code}: {log.read_text(errors='replace')[-500:]}")


def _ask_platform() -> str:
    """The name Terraform has for this machine's system and processor."""
    said = subprocess.run(
        [str(find_terraform()), "version"],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=True,
    )
    found = _PLATFORM.search(said.stdout)
    if found is None:
        raise OSError(f"terraform version does not name its platform: {said.stdout[:200]!r}")
    return found[1]
