"""Apprise against a real HTTP server: what arrives, and a service that hangs."""

from __future__ import annotations

import asyncio
import json

import pytest

from reconciler.core.notifications.sinks import Accepted, Unreached
from reconciler.sinks.chat import THREADS_MAX, ChatSink, read_chat_urls
from svckit.errors import StartFailed
from testkit.notice_desk import a_message
from testkit.postbox import HookServer

pytestmark = pytest.mark.integration


def url_of(hook: HookServer) -> str:
    return f"json://127.0.0.1:{hook.port}/hook"


async def test_a_message_goes_where_the_url_says(hook: HookServer) -> None:
    (sink,) = read_chat_urls(f"# a room\n\n{url_of(hook)}\n")
    assert await sink.send(a_message()) == Accepted()
    sent = json.loads(hook.posts[0].body)
    assert (sent["title"], sent["message"]) == (
        'Pool "standard" of template "dev" stopped',
        "3 builds in a row failed",
    )


async def test_a_service_that_refuses_may_take_it_later(hook: HookServer) -> None:
    hook.statuses.append(500)
    assert isinstance(await ChatSink(url_of(hook)).send(a_message()), Unreached)
    assert await ChatSink(url_of(hook)).send(a_message()) == Accepted()


async def test_a_service_that_hangs_takes_a_few_threads_and_no_more(hook: HookServer) -> None:
    hook.held = asyncio.Event()
    sink = ChatSink(url_of(hook) + "?rto=60")
    for _ in range(THREADS_MAX):
        hook.arrived.clear()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(sink.send(a_message()))
            await hook.arrived.wait()
            task.cancel()  # as a time limit does
    found = await sink.send(a_message())
    assert isinstance(found, Unreached)
    assert len(hook.posts) == THREADS_MAX


def test_two_urls_are_two_sinks_named_without_their_secrets() -> None:
    one, two = read_chat_urls("json://user:s3cret@a.test\njson://user:s3cret@b.test\n")
    assert one.target != two.target
    assert "s3cret" not in f"{one.target} {two.target}"


def test_a_url_that_is_none_is_named_by_its_line() -> None:
    with pytest.raises(StartFailed, match="line 2") as refused:
        read_chat_urls("json://a.test\nno-such-service://s3cret\n")
    assert "s3cret" not in str(refused.value)
