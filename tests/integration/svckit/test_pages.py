"""The pages for operators: what a probe gets, and that Prometheus gets the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge

from svckit.errors import StartFailed
from svckit.http import serve_pages
from svckit.readiness import Readiness

pytestmark = pytest.mark.integration


@contextmanager
def pages(listen: str, readiness: Readiness) -> Generator[str]:
    registry = CollectorRegistry()
    Gauge("sample", "A metric.", registry=registry).set(7)
    server = serve_pages(listen, registry, readiness)
    try:
        yield f"http://{listen.rpartition(':')[0]}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=10) as page:
            return page.status, page.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_a_probe_gets_a_status_and_people_get_the_reason(listen: str) -> None:
    readiness = Readiness()
    with pages(listen, readiness) as url:
        starting = await asyncio.to_thread(get, f"{url}/readyz")
        readiness.set_serving(True)
        readiness.set("nats", "not connected")
        degraded = await asyncio.to_thread(get, f"{url}/readyz")
        readiness.set_serving(False)
        draining = await asyncio.to_thread(get, f"{url}/readyz")
        status, metrics = await asyncio.to_thread(get, f"{url}/metrics")

    assert starting == (503, "[-] serving: starting\nnot ready\n")
    assert degraded == (200, "[+] serving: ok\n[~] nats: not connected\ndegraded\n")
    assert draining == (503, "[-] serving: draining\n[~] nats: not connected\nnot ready\n")
    assert (status, "sample 7.0" in metrics) == (200, True)


def test_a_taken_address_is_one_clear_failure() -> None:
    with pages("127.0.0.1:0", Readiness()) as url:
        taken = url.removeprefix("http://")
        with pytest.raises(StartFailed, match=f"cannot serve metrics on {taken}: "):
            serve_pages(taken, CollectorRegistry(), Readiness())
