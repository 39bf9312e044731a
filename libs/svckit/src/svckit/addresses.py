"""Addresses to listen on and to call, and the file that tells which port it became."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

__all__ = ["is_loopback", "parse_listen", "write_port_file"]


def parse_listen(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port"; port 0 stands for any free one.

    Raises ValueError for anything else.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(
            f"address is {address!r}: allowed is host:port with a port from 0 to 65535"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether what goes to `host` stays on this machine. A name other than localhost may not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def write_port_file(path: Path | None, port: int) -> None:
    """Tell whoever waits that the service is ready, and on which port. None: nobody waits.

    Atomic: a reader sees no file or all of it. Raises OSError.
    """
    if path is None:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{port}\n", encoding="ascii")
    draft.replace(path)
