"""From an event to real servers: dead ones, slow ones, crashes, and what is left to be done."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from embedded import find_free_port
from reconciler.core.notifications.kinds import MailTls
from reconciler.loops.leadership import NOTIFICATION_LOCK
from reconciler.sinks.mail import MailSettings, MailSink
from reconciler.sinks.webhook import WebhookSettings, WebhookSink
from reconciler.store.db import open_database
from testkit.eventually import eventually
from testkit.notice_desk import NoticeDesk, Tls
from testkit.postbox import HookServer, MailServer, serve_mail

pytestmark = pytest.mark.integration
LEASE_SECONDS = 3 * 5.0


def mail_to(port: int) -> MailSink:
    settings = MailSettings(
        host="127.0.0.1", port=port, sender="warmpool@example.org", tls=MailTls.NONE
    )
    return MailSink(settings)


def post_to(hook: HookServer, desk: NoticeDesk, tls: Tls) -> WebhookSink:
    settings = WebhookSettings(url=hook.url, key=b"k" * 16, context=tls.client)
    return WebhookSink(settings, desk.world.clock)


async def test_an_event_is_planned_once_and_sent_once_on_every_channel(
    desk: NoticeDesk, mail: MailServer, hook: HookServer, tls: Tls
) -> None:
    desk.sinks = (mail_to(mail.port), post_to(hook, desk, tls))
    await desk.hire("grace", "template-admin", email="grace@example.org")
    await desk.hire("boss", "owner", email="boss@example.org")
    await desk.hire("ann", "auditor", email="ann@example.org")
    await desk.happen()
    assert [await desk.plan(), await desk.plan()] == [1, 0]
    assert [await desk.send(), await desk.send()] == [3, 0]
    assert sorted(mail.recipients) == ["boss@example.org", "grace@example.org"]
    assert len(hook.posts) == 1
    ids = {str(each["Message-ID"]).strip("<>").partition("@")[0] for each in mail.mails}
    assert len({*ids, hook.posts[0].headers["webhook-id"]}) == 3
    inboxes = await desk.world.fetch(
        "SELECT username FROM notification_deliveries d JOIN users u ON u.id = d.recipient_id"
        " WHERE channel = 'inbox' ORDER BY 1"
    )
    assert [row["username"] for row in inboxes] == ["boss", "grace"]


async def test_a_dead_sink_delays_no_other_and_gets_its_mail_when_it_is_back(
    desk: NoticeDesk, hook: HookServer, tls: Tls
) -> None:
    port = find_free_port()
    desk.sinks = (mail_to(port), post_to(hook, desk, tls))
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    assert await desk.send() == 2
    (mailed, posted) = await desk.rows()
    assert (mailed[:3], posted) == (("email", "pending", 1), ("webhook", "sent", 1, ""))
    assert "Connect" in str(mailed[3])
    async with serve_mail(port=port) as mail:
        assert await desk.send() == 0  # not yet
        desk.world.clock.advance(10)
        assert await desk.send() == 1
        assert mail.recipients == ["grace@example.org"]
    assert (await desk.rows())[0] == ("email", "sent", 2, "")


async def test_a_slow_sink_holds_no_connection_and_no_other_sink(
    desk: NoticeDesk, mail: MailServer, hook: HookServer, tls: Tls
) -> None:
    mail.held = asyncio.Event()
    desk.sinks = (mail_to(mail.port), post_to(hook, desk, tls))
    for number in range(20):  # more than are sent at once
        await desk.hire(f"g-{number}", "owner", email=f"g-{number}@example.org")
    await desk.happen()
    await desk.plan()
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(desk.sender(desk.sinks[0]).run_once())
        await mail.arrived.wait()
        assert desk.world.database.in_use_count == 0
        assert await desk.sender(desk.sinks[1]).run_once() == 1
        # AND people go on as if nothing was
        await desk.world.ready_prebuild()
        assert await desk.world.claim() is not None
        assert not slow.done()
        mail.held.set()
    assert (slow.result(), len(mail.mails)) == (4, 4)


async def test_an_answer_that_never_comes_is_waited_for_so_long_and_no_longer(
    desk: NoticeDesk, mail: MailServer
) -> None:
    mail.held = asyncio.Event()
    desk.settings = replace(desk.settings, timeout_seconds=0.2)
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    assert await desk.send() == 1
    assert await desk.rows() == [("email", "pending", 1, "no answer within 0.2 seconds")]


async def test_a_sink_that_fails_is_left_alone_for_a_while(desk: NoticeDesk) -> None:
    desk.sinks = (mail_to(find_free_port()),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    loop = desk.sender(desk.sinks[0])
    assert not (await loop.check()).is_warning
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run())

        def rests() -> None:
            assert desk.world.clock.sleeping == 1

        await eventually(rests)
        check = await loop.check()
        running.cancel()
    assert (check.name, check.is_ok, check.is_warning) == ("notifications email", True, True)
    assert check.message == "1 sends in a row failed, the last one: SMTPConnectError"


async def test_a_crash_between_sending_and_noting_sends_again_under_the_same_id(
    desk: NoticeDesk, mail: MailServer
) -> None:
    mail.held = asyncio.Event()
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(desk.sender(desk.sinks[0]).run_once())
        await mail.arrived.wait()
        sending.cancel()
    mail.held.set()
    assert await desk.send() == 0  # whoever crashed has it for as long as the lease
    desk.world.clock.advance(LEASE_SECONDS)
    assert await desk.send() == 1
    assert await desk.rows() == [("email", "sent", 2, "")]
    first, second = mail.arrived_ids
    assert first == second


async def test_an_attempt_that_was_overtaken_changes_nothing(
    desk: NoticeDesk, mail: MailServer
) -> None:
    mail.held = asyncio.Event()
    mail.answers.append("554 the first one is refused")
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(desk.sender(desk.sinks[0]).run_once())
        await mail.arrived.wait()
        mail.arrived.clear()
        desk.world.clock.advance(LEASE_SECONDS)
        second = tasks.create_task(desk.sender(desk.sinks[0]).run_once())
        await mail.arrived.wait()
        mail.held.set()
    assert (first.result(), second.result()) == (1, 1)
    assert await desk.rows() == [("email", "sent", 2, "")]


async def test_replicas_that_send_at_once_send_each_message_once(
    desk: NoticeDesk, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail.port),)
    for number in range(12):
        await desk.hire(f"g-{number}", "owner", email=f"g-{number}@example.org")
    await desk.happen()
    async with asyncio.TaskGroup() as tasks:
        planned = [tasks.create_task(desk.plan()) for _ in range(3)]
    assert sum(each.result() for each in planned) == 1
    async with asyncio.TaskGroup() as tasks:
        turns = [tasks.create_task(desk.send()) for _ in range(4)]
    assert sum(turn.result() for turn in turns) == 12
    assert sorted(mail.recipients) == sorted(f"g-{number}@example.org" for number in range(12))


async def test_one_replica_plans_at_a_time(desk: NoticeDesk, migrated_url: str) -> None:
    await desk.hire("grace", "owner")
    await desk.happen()
    async with (
        open_database(migrated_url, pool_max=1) as other,
        other.try_lock(NOTIFICATION_LOCK) as is_leader,
    ):
        assert is_leader
        assert await desk.plan() == 0
    assert await desk.plan() == 1


async def test_what_is_tried_in_vain_is_a_dead_letter_that_can_be_tried_again(
    desk: NoticeDesk, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    mail.answers.extend(["451 come again"] * 3)
    for _ in range(5):
        await desk.send()
        desk.world.clock.advance(3600)
    (row,) = await desk.rows()
    assert row[:3] == ("email", "dead", 3)
    assert str(row[3]).endswith("(attempt 3 of 3)")
    (dead,) = [each for each in await desk.queue.count() if each.channel == "email"]
    assert (dead.status, dead.count) == ("dead", 1)


async def test_what_was_sent_waits_and_is_dead_is_counted(
    desk: NoticeDesk, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail.port),)
    for number in range(3):
        await desk.hire(f"g-{number}", "owner", email=f"g-{number}@example.org")
    await desk.happen()
    await desk.plan()
    mail.answers.extend(["451 come again", "554 never"])
    await desk.send()
    await desk.plan()
    assert desk.counted() == {
        ("warmpool_notifications_sent", "email", "sent"): 1,
        ("warmpool_notifications_sent", "email", "failed"): 1,
        ("warmpool_notifications_sent", "email", "dead"): 1,
        ("warmpool_notifications_pending", "email"): 1,
        ("warmpool_notifications_dead", "email"): 1,
    }


async def test_a_last_attempt_nobody_reports_on_is_a_dead_letter(
    desk: NoticeDesk, mail: MailServer
) -> None:
    mail.held = asyncio.Event()
    desk.settings = replace(desk.settings, attempts_max=1)
    before = desk.figures()
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(desk.sender(desk.sinks[0]).run_once())
        await mail.arrived.wait()
        sending.cancel()
    assert [(await desk.send()), (await desk.rows())[0][1]] == [0, "pending"]
    desk.world.clock.advance(LEASE_SECONDS)
    assert [(await desk.send()), (await desk.rows())[0][1]] == [0, "dead"]
    # AND the count, which the alert looks at, has begun from nothing and has it
    dead = "warmpool_notifications_sent", "email", "dead"
    assert (before[dead], desk.figures()[dead]) == (0, 1)


@pytest.mark.parametrize("change", ["disabled_at = created_at", "email = ''"])
async def test_who_was_disabled_or_has_no_address_any_more_gets_no_mail(
    desk: NoticeDesk, mail: MailServer, change: str
) -> None:
    desk.sinks = (mail_to(mail.port),)
    user_id = await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    await desk.world.execute(f"UPDATE users SET {change} WHERE id = $1", user_id)
    assert await desk.send() == 1
    assert mail.mails == []
    # AND that is no dead letter, which somebody would be woken for
    assert await desk.rows() == []
    assert desk.counted() == {}


async def test_a_sink_that_was_never_there_leaves_nothing_behind(desk: NoticeDesk) -> None:
    await desk.hire("grace", "owner", email="grace@example.org")
    await desk.happen()
    await desk.plan()
    assert await desk.rows() == []


async def test_a_message_of_odd_content_does_not_end_the_loop(
    desk: NoticeDesk, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail.port),)
    await desk.hire("grace", "owner", email="grace@example.org")
    for message in ("\ud7ff\ufffe odd", "x" * 3_000_000, "", "\r\n.\r\nQUIT\r\n"):
        await desk.happen("moon\r\nlanded", message)
        desk.world.clock.advance(1)
    await desk.plan()
    assert await desk.send() == 4
    assert [row[1] for row in await desk.rows()] == ["sent"] * 4
    assert max(len(each.as_bytes()) for each in mail.mails) < 100_000
