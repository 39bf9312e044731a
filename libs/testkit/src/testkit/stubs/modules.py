"""A module registry on this machine that gives out the modules of a checkout.

Templates name modules as `registry.coder.com/NAMESPACE/NAME/coder`; the CLI configuration this
yields sends terraform here instead. A checkout has `registry/NAMESPACE/modules/NAME`. If it is of
git, a version is what was tagged `release/NAMESPACE/NAME/vVERSION`; without such a tag every
version that is asked for is what the checkout has.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serve_modules"]

HOST = "registry.coder.com"
ANY_VERSION = [f"{major}.99.99" for major in range(10)]
"""Any constraint finds one of these."""
GIT_SECONDS = 30.0


@contextmanager
def serve_modules(checkout: Path) -> Generator[str]:
    """Serves until the block is left; yields a CLI configuration."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, checkout))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/m/"
    try:
        yield f'host "{HOST}" {{\n  services = {{ "modules.v1" = "{url}" }}\n}}\n'
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _find_module(checkout: Path, namespace: str, name: str) -> Path | None:
    """Where a module lies in a checkout. The namespace `modules` is an old name of any."""
    wanted = "*" if namespace == "modules" else namespace
    found = sorted((checkout / "registry").glob(f"{wanted}/modules/{name}"))
    preferred = [path for path in found if path.parts[-3] == "coder"]
    path = next(iter((*preferred, *found)), None)
    return None if path is None else path.relative_to(checkout)


def _git(checkout: Path, *arguments: str) -> bytes:
    """What git says; nothing if it cannot."""
    ran = subprocess.run(
        ["git", "-C", str(checkout), *arguments],
        capture_output=True,
        timeout=GIT_SECONDS,
        check=False,
    )
    return b"" if ran.returncode else ran.stdout


def _tag(module: Path, version: str) -> str:
    return f"release/{module.parts[1]}/{module.name}/v{version}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, checkout: Path, *rest: Any) -> None:
        self._checkout = checkout
        super().__init__(*rest)

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["m", namespace, name, "coder", "versions"]:
                self._list(_find_module(self._checkout, namespace, name))
            case ["m", namespace, name, "coder", version, "download"]:
                self.send_response(204)
                archive = f"/m/archive/{namespace}/{name}/{version}.tar.gz"
                self.send_header("X-Terraform-Get", archive)
                self.end_headers()
            case ["m", "archive", namespace, name, file]:
                version = file.removesuffix(".tar.gz")
                self._give(_find_module(self._checkout, namespace, name), version)
            case _:
                self.send_error(404)

    def _list(self, module: Path | None) -> None:
        if module is None:
            self.send_error(404)
            return
        tags = _git(self._checkout, "tag", "-l", _tag(module, "*")).decode().split()
        versions = [tag.rpartition("/v")[2] for tag in tags] or ANY_VERSION
        listed = [{"version": version} for version in versions]
        self._answer(json.dumps({"modules": [{"versions": listed}]}).encode())

    def _give(self, module: Path | None, version: str) -> None:
        if module is None:
            self.send_error(404)
            return
        tree = f"{_tag(module, version)}:{module.as_posix()}"
        self._answer(_git(self._checkout, "archive", "--format=tar.gz", tree) or self._pack(module))

    def _pack(self, module: Path) -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(self._checkout / module, arcname=".")
        return packed.getvalue()

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
