"""Posts to a real HTTP server: what is in them, who can forge them, and what answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl

import pytest
from aiohttp import web

from embedded import find_free_port
from reconciler.core.notifications.sinks import Accepted, Refused, Unreached
from reconciler.sinks.webhook import WebhookSettings, WebhookSink, read_key
from svckit.errors import StartFailed
from testkit.clock import SettableClock
from testkit.notice_desk import Tls, a_message
from testkit.postbox import HookServer

pytestmark = pytest.mark.integration
KEY = b"a key of 16 byte"


def sink(url: str, context: ssl.SSLContext | None = None) -> WebhookSink:
    context = context or ssl.create_default_context()
    return WebhookSink(WebhookSettings(url=url, key=KEY, context=context), SettableClock())


async def test_a_post_is_versioned_and_signed_and_keeps_its_id(hook: HookServer) -> None:
    message = a_message(facts={"template": "dev", "preset": "standard"})
    for _ in range(2):
        assert await sink(hook.url).send(message) == Accepted()
    first, second = hook.posts
    assert json.loads(first.body) == {
        "version": 1,
        "id": "00000000-0000-0000-0000-000000000007",
        "kind": "pool.hard_limited",
        "subject": 'Pool "standard" of template "dev" stopped',
        "body": "3 builds in a row failed",
        "organization": "default",
        "facts": {"template": "dev", "preset": "standard"},
        "created_at": "2030-01-01T00:00:00+00:00",
    }
    assert first.headers["content-type"] == "application/json"
    id_, moment = first.headers["webhook-id"], first.headers["webhook-timestamp"]
    assert (id_, moment) == ("00000000-0000-0000-0000-000000000007", "1893456000")
    # Reckoned as a receiver does, by the specification.
    signed = b".".join((id_.encode(), moment.encode(), first.body))
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"
    assert second.headers["webhook-id"] == id_


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Accepted),
        (202, Accepted),
        (302, Unreached),
        (400, Refused),
        (401, Unreached),
        (404, Unreached),
        (410, Refused),
        (413, Refused),
        (422, Refused),
        (429, Unreached),
        (500, Unreached),
        (503, Unreached),
    ],
)
async def test_what_the_receiver_answers_decides(
    hook: HookServer, status: int, outcome: type[Accepted | Refused | Unreached]
) -> None:
    hook.statuses.append(status)
    assert isinstance(await sink(hook.url).send(a_message()), outcome)
    assert len(hook.posts) == 1  # a redirect is not followed


async def test_a_receiver_that_is_not_there_may_come_back_and_its_url_is_not_told() -> None:
    url = f"http://127.0.0.1:{find_free_port()}/hook?key=s3cret"
    found = await sink(url).send(a_message())
    assert isinstance(found, Unreached)
    assert "s3cret" not in found.error
    assert "s3cret" not in repr(
        WebhookSettings(url=url, key=KEY, context=ssl.create_default_context())
    )


async def test_a_receiver_must_have_a_certificate_we_trust(tls: Tls) -> None:
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=204)

    runner = web.AppRunner(app := web.Application())
    app.router.add_post("/hook", take)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := find_free_port(), ssl_context=tls.server)
    await site.start()
    try:
        url = f"https://127.0.0.1:{port}/hook"
        assert isinstance(await sink(url).send(a_message()), Unreached)
        assert seen == []
        assert await sink(url, tls.client).send(a_message()) == Accepted()
    finally:
        await runner.cleanup()


async def test_a_huge_body_is_carried(hook: HookServer) -> None:
    assert await sink(hook.url).send(a_message(body="x" * 500_000)) == Accepted()
    assert len(json.loads(hook.posts[0].body)["body"]) == 500_000


def test_a_secret_is_taken_as_it_is_or_as_the_specification_writes_it() -> None:
    key = bytes(range(24))
    assert read_key(f"whsec_{base64.b64encode(key).decode()}") == key
    assert read_key("sixteen letters!") == b"sixteen letters!"
    for wrong in ("short", "", "whsec_", "whsec_not base64!", f"whsec_{'AAAA'}"):
        with pytest.raises(StartFailed, match="webhook_secret_file"):
            read_key(wrong)
