"""Notifications over the API: an inbox of one's own, what one chooses, and dead letters."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from reconciler.core.notifications.kinds import Kind, MailTls
from reconciler.sinks.chat import ChatSink
from reconciler.sinks.mail import MailSettings, MailSink
from testkit.notice_desk import NoticeDesk
from testkit.office import Office, code_of, refused, serve_office
from testkit.postbox import HookServer, MailServer
from warmpool.control.v1 import notifications_pb2 as pb
from warmpool.control.v1 import workspaces_pb2

pytestmark = pytest.mark.integration


@pytest.fixture
async def office(desk: NoticeDesk) -> AsyncGenerator[Office]:
    """The API over the same database."""
    async with serve_office(desk.world) as office:
        yield office


def mail_to(server: MailServer) -> MailSink:
    settings = MailSettings(
        host="127.0.0.1", port=server.port, sender="warmpool@example.org", tls=MailTls.NONE
    )
    return MailSink(settings)


def url_of(hook: HookServer) -> str:
    return f"json://127.0.0.1:{hook.port}/hook"


async def happen(desk: NoticeDesk, count: int) -> None:
    """So many events, a second apart, planned."""
    for number in range(count):
        await desk.happen(message=f"event {number}")
        desk.world.clock.advance(1)
        await desk.plan()


async def test_an_inbox_is_read_page_by_page_and_is_nobody_elses(
    desk: NoticeDesk, office: Office
) -> None:
    grace = (await office.join("grace", "template-admin")).notifications
    ann = (await office.join("ann", "auditor")).notifications
    await happen(desk, 5)
    seen: list[str] = []
    sizes: list[int] = []
    token = ""
    while True:
        page = await grace.ListInbox(pb.ListInboxRequest(page_size=2, page_token=token))
        seen += [message.body.partition("\n")[0] for message in page.messages]
        sizes.append(len(page.messages))
        token = page.next_page_token
        if not token:
            break
    assert (seen, sizes) == ([f"event {n}" for n in (4, 3, 2, 1, 0)], [2, 2, 1])
    assert (await ann.ListInbox(pb.ListInboxRequest())).unread_count == 0

    everything = await grace.ListInbox(pb.ListInboxRequest())
    ids = [message.id for message in everything.messages]
    assert everything.unread_count == 5
    assert (await grace.MarkRead(pb.MarkReadRequest(ids=ids[:2]))).count == 2
    assert (await grace.MarkRead(pb.MarkReadRequest(ids=ids[:2]))).count == 0
    error = await refused(ann.MarkRead(pb.MarkReadRequest(ids=ids[2:])))
    assert (error.code.name, error.field) == ("NOT_FOUND", "ids")
    unread = await grace.ListInbox(pb.ListInboxRequest(unread=True))
    assert [message.id for message in unread.messages] == ids[2:]
    assert (await grace.MarkRead(pb.MarkReadRequest())).count == 3
    assert (await grace.ListInbox(pb.ListInboxRequest(unread=True))).unread_count == 0


async def test_what_somebody_chose_decides_what_they_get(
    desk: NoticeDesk, office: Office, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail),)
    grace = (await office.join("grace", "template-admin")).notifications
    await happen(desk, 1)
    assert await desk.send() == 0  # no address
    await grace.SetAddress(pb.SetAddressRequest(email="grace@example.org"))
    await grace.SetPreference(
        pb.SetPreferenceRequest(kind="pool.hard_limited", channel="inbox", on=False)
    )
    await happen(desk, 1)
    assert await desk.send() == 1
    answer = await grace.SetPreference(pb.SetPreferenceRequest(channel="email", on=False))
    assert [(each.kind, each.inbox, each.email) for each in answer.preferences] == [
        (kind.value, kind is not Kind.POOL_HARD_LIMITED, False) for kind in Kind
    ]
    await happen(desk, 1)
    assert await desk.send() == 0
    assert (await grace.ListInbox(pb.ListInboxRequest())).unread_count == 1
    shown = await grace.GetPreferences(pb.GetPreferencesRequest())
    assert (shown.email, shown.preferences) == ("grace@example.org", answer.preferences)
    # AND it is known who changed what, once
    await grace.SetPreference(pb.SetPreferenceRequest(channel="email", on=False))
    deeds = await office.audit("notification.set_address", "notification.set_preference")
    assert [(deed["actor"], deed["action"], deed["details"]) for deed in deeds] == [
        ("grace", "notification.set_address", {"username": "grace", "email": "grace@example.org"}),
        (
            "grace",
            "notification.set_preference",
            {"username": "grace", "kinds": ["pool.hard_limited"], "channel": "inbox", "on": False},
        ),
        (
            "grace",
            "notification.set_preference",
            {"username": "grace", "kinds": sorted(Kind), "channel": "email", "on": False},
        ),
    ]


async def test_where_mail_goes_is_not_what_templates_see(
    desk: NoticeDesk, office: Office, mail: MailServer
) -> None:
    settings = MailSettings(
        host="127.0.0.1", port=mail.port, sender="warmpool@example.org", tls=MailTls.NONE
    )
    desk.sinks = (MailSink(settings),)
    grace = await office.join("grace", "template-admin")
    await desk.world.execute("UPDATE users SET email = 'g@work.test' WHERE username = 'grace'")
    address = "somebody-else@example.org"
    await grace.notifications.SetAddress(pb.SetAddressRequest(email=address))

    await grace.workspaces.CreateWorkspace(
        workspaces_pb2.CreateWorkspaceRequest(template="dev", preset="standard")
    )
    job = await desk.world.acquire()
    await happen(desk, 1)
    await desk.send()

    assert job.build is not None
    assert (job.build.username, job.build.email) == ("grace", "g@work.test")
    assert mail.recipients == [address]
    # AND without one of their own it is the account's again
    await grace.notifications.SetAddress(pb.SetAddressRequest())
    shown = await grace.notifications.GetPreferences(pb.GetPreferencesRequest())
    assert shown.email == "g@work.test"


async def test_owners_choose_for_others_and_others_do_not(office: Office) -> None:
    grace = (await office.join("grace")).notifications
    ann = (await office.join("ann", "auditor")).notifications
    owner = (await office.calling()).notifications
    change = pb.SetPreferenceRequest(username="grace", channel="email", on=False)
    for call in (
        ann.SetPreference(change),
        grace.SetAddress(pb.SetAddressRequest(username="ann", email="x@example.org")),
        grace.GetPreferences(pb.GetPreferencesRequest(username="ann")),
        grace.GetPreferences(pb.GetPreferencesRequest(username="nobody")),
        grace.ListDeliveries(pb.ListDeliveriesRequest()),
        grace.RetryDeliveries(pb.RetryDeliveriesRequest(all=True)),
        ann.RetryDeliveries(pb.RetryDeliveriesRequest(all=True)),
    ):
        assert await code_of(call) == "PERMISSION_DENIED"
    await owner.SetPreference(change)
    await owner.SetAddress(pb.SetAddressRequest(username="grace", email="g@example.org"))
    seen = await ann.GetPreferences(pb.GetPreferencesRequest(username="grace"))
    assert (seen.email, {each.email for each in seen.preferences}) == ("g@example.org", {False})
    assert await code_of(ann.ListDeliveries(pb.ListDeliveriesRequest())) == "OK"


SOME_ID = "00000000-0000-0000-0000-000000000001"
NONSENSE = [
    ("SetPreference", pb.SetPreferenceRequest(channel="pigeon"), "channel"),
    ("SetPreference", pb.SetPreferenceRequest(channel="webhook"), "channel"),
    ("SetPreference", pb.SetPreferenceRequest(kind="x", channel="inbox"), "kind"),
    ("SetAddress", pb.SetAddressRequest(email="a@b\r\nBcc: c@d"), "email"),
    ("SetAddress", pb.SetAddressRequest(username="prebuilds", email="a@b.test"), "username"),
    ("SetAddress", pb.SetAddressRequest(username="nobody", email="a@b.test"), "username"),
    ("MarkRead", pb.MarkReadRequest(ids=["x"]), "ids"),
    ("MarkRead", pb.MarkReadRequest(ids=[SOME_ID] * 201), "ids"),
    ("ListInbox", pb.ListInboxRequest(page_size=201), "page_size"),
    ("ListInbox", pb.ListInboxRequest(page_token="2030-01-01/x"), "page_token"),
    ("ListDeliveries", pb.ListDeliveriesRequest(channel="x"), "channel"),
    ("RetryDeliveries", pb.RetryDeliveriesRequest(), "ids"),
    ("RetryDeliveries", pb.RetryDeliveriesRequest(ids=[SOME_ID], all=True), "ids"),
]


async def test_what_makes_no_sense_is_refused_by_name(office: Office) -> None:
    owner = (await office.calling()).notifications
    unknown = pb.ListDeliveriesRequest()
    unknown.MergeFromString(b"\x08\x09")  # status 9, of a newer release
    for method, request, field in [*NONSENSE, ("ListDeliveries", unknown, "status")]:
        error = await refused(getattr(owner, method)(request))
        assert error.code.name in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION")
        assert (method, error.field) == (method, field), error


async def test_a_page_token_without_a_time_zone_is_one_of_utc(office: Office) -> None:
    owner = (await office.calling()).notifications
    token = "2030-01-01T00:00:00/00000000-0000-0000-0000-000000000001"
    assert await code_of(owner.ListInbox(pb.ListInboxRequest(page_token=token))) == "OK"


async def test_a_dead_letter_is_seen_and_goes_out_when_somebody_asks_for_it(
    desk: NoticeDesk, office: Office, mail: MailServer
) -> None:
    desk.sinks = (mail_to(mail),)
    owner = (await office.calling()).notifications
    await desk.hire("grace", "owner", email="grace@example.org")
    await happen(desk, 2)
    mail.answers.append("554 not today")
    await desk.send()

    dead = await owner.ListDeliveries(pb.ListDeliveriesRequest(status=pb.DELIVERY_STATUS_DEAD))
    (letter,) = dead.deliveries
    assert (letter.channel, letter.recipient, letter.attempts) == ("email", "grace", 1)
    assert "not today" in letter.error
    sent = await owner.ListDeliveries(
        pb.ListDeliveriesRequest(status=pb.DELIVERY_STATUS_SENT, channel="email")
    )
    assert [each.recipient for each in sent.deliveries] == ["grace"]

    unknown = pb.RetryDeliveriesRequest(ids=[sent.deliveries[0].id])
    assert (await owner.RetryDeliveries(unknown)).count == 0  # it is not dead
    assert (await owner.RetryDeliveries(pb.RetryDeliveriesRequest(ids=[letter.id]))).count == 1
    assert await desk.send() == 1
    assert {str(each["Message-ID"]) for each in mail.mails} >= {f"<{letter.id}@example.org>"}
    assert (await owner.RetryDeliveries(pb.RetryDeliveriesRequest(all=True))).count == 0
    assert [deed["details"] for deed in await office.audit("notification.retry")] == [{"count": 1}]


async def test_what_was_for_a_sink_that_is_gone_is_buried_and_goes_to_the_one_there_is(
    desk: NoticeDesk, hook: HookServer, mail: MailServer
) -> None:
    old, new = ChatSink(f"json://127.0.0.1:{hook.port}/old"), ChatSink(url_of(hook))
    desk.sinks = (old, mail_to(mail))
    await desk.hire("grace", "owner", email="grace@example.org")
    await happen(desk, 1)
    # WHEN its URL is changed, while mail waits as well, and no mail is sent any more
    desk.sinks = (new,)
    planner = desk.planner()
    await planner.run_once()
    desk.world.clock.advance(3600)
    await planner.run_once()
    assert [row[1] for row in await desk.rows()] == ["pending", "pending"]  # it may come back
    desk.world.clock.advance(61)
    await planner.run_once()
    gone = ("dead", 0, "no such sink any more")
    assert await desk.rows() == [("apprise", *gone), ("email", *gone)]
    sent = "warmpool_notifications_sent"
    assert [desk.figures()[sent, channel, "dead"] for channel in ("apprise", "email")] == [1, 1]
    # THEN a retry sends it to the URL there is now, once, and mail stays what it is
    async with serve_office(desk.world, [sink.target for sink in desk.sinks]) as office:
        owner = (await office.calling()).notifications
        for count in (1, 0):
            answer = await owner.RetryDeliveries(pb.RetryDeliveriesRequest(all=True))
            assert answer.count == count
    assert await desk.send() == 1
    assert await desk.rows() == [("apprise", "sent", 1, ""), ("email", *gone)]
    assert len(hook.posts) == 1


async def test_who_has_it_already_is_not_sent_what_was_for_another(
    desk: NoticeDesk, hook: HookServer
) -> None:
    gone, also_gone, here, new = (
        ChatSink(f"json://127.0.0.1:{hook.port}/hook?n={number}") for number in range(4)
    )
    desk.sinks = (gone, also_gone, here)
    await happen(desk, 1)
    assert await desk.sender(here).run_once() == 1
    desk.world.clock.advance(3601)
    desk.sinks = (here, new)
    await desk.plan()
    async with serve_office(desk.world, [sink.target for sink in desk.sinks]) as office:
        owner = (await office.calling()).notifications
        assert (await owner.RetryDeliveries(pb.RetryDeliveriesRequest(all=True))).count == 2
    assert await desk.send() == 1
    assert await desk.rows() == [("apprise", "sent", 1, "")] * 2
    assert len(hook.posts) == 2
