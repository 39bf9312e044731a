"""Mail against a real SMTP server: what arrives, and what each way of failing means."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest

from embedded import find_free_port
from reconciler.core.notifications.kinds import MailTls
from reconciler.core.notifications.sinks import Accepted, Refused, Unaddressed, Unreached
from reconciler.core.notifications.wording import render
from reconciler.sinks.mail import MailSettings, MailSink
from testkit.notice_desk import Tls, a_message
from testkit.postbox import MailServer, serve_mail

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery staple"


def plain(server: MailServer) -> MailSettings:
    return MailSettings(
        host=server.host, port=server.port, sender="warmpool@example.org", tls=MailTls.NONE
    )


async def test_a_mail_arrives_as_it_was_written(mail: MailServer) -> None:
    message = a_message(body="it stopped: größer\n\nOrganization: default")
    assert await MailSink(plain(mail)).send(message) == Accepted()
    (arrived,) = mail.mails
    assert mail.recipients == ["ada@example.org"]
    assert {name: str(arrived[name]) for name in ("From", "To", "Subject", "Message-ID")} == {
        "From": "warmpool@example.org",
        "To": "ada@example.org",
        "Subject": 'Pool "standard" of template "dev" stopped',
        "Message-ID": "<00000000-0000-0000-0000-000000000007@example.org>",
    }
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived.get_content() == message.body + "\n"


async def test_a_name_with_line_breaks_adds_no_header_and_no_recipient(mail: MailServer) -> None:
    evil = "x\r\nBcc: everybody@example.org\r\n\r\nDATA\r\n.\r\nMAIL FROM:<a@b>"
    words = render("pool.hard_limited", evil, "default", {"preset": evil, "template": "dev"})
    message = a_message(subject=words.subject, body=words.body)
    assert await MailSink(plain(mail)).send(message) == Accepted()
    # AND if it were not made one line before, it would be no mail at all
    raw = await MailSink(plain(mail)).send(a_message(subject="x\r\nBcc: everybody@example.org"))
    assert isinstance(raw, Refused)
    (arrived,) = mail.mails
    assert (arrived["Bcc"], mail.recipients) == (None, ["ada@example.org"])
    assert arrived["Subject"].startswith('Pool "x Bcc: everybody@example.org DATA')
    assert ".\nMAIL FROM:<a@b>" in arrived.get_content()


@pytest.mark.parametrize(
    "email", ["nobody@example.org", "a\r\nRCPT TO:<b@c>@example.org", "@", "two words@x"]
)
async def test_who_has_no_mailbox_is_refused_for_good(mail: MailServer, email: str) -> None:
    assert isinstance(await MailSink(plain(mail)).send(a_message(email=email)), Refused)
    nobody = await MailSink(plain(mail)).send(a_message(email=""))
    assert isinstance(nobody, Unaddressed)
    assert mail.mails == []


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("552 too much mail data", Refused),
        ("554 we call this spam", Refused),
        ("451 come again", Unreached),
        ("421 going down", Unreached),
    ],
)
async def test_what_the_server_says_decides(
    mail: MailServer, answer: str, outcome: type[Refused | Unreached]
) -> None:
    mail.answers.append(answer)
    found = await MailSink(plain(mail)).send(a_message())
    assert isinstance(found, outcome)
    assert answer[4:] in found.error


async def test_whom_a_mail_was_for_is_in_nothing_that_is_said(mail: MailServer) -> None:
    sink = MailSink(plain(mail))
    mail.answers += ["451 <ada@example.org> come again", "552 5.2.2 ADA@EXAMPLE.ORG is over quota"]
    later, full = [await sink.send(a_message()) for _ in range(2)]
    unknown = await sink.send(a_message(email="nobody@example.org"))
    nowhere = await sink.send(a_message(email="a@b@example.org"))

    assert later == Unreached("SMTPDataError: (451, '<***> come again')", "SMTPDataError 451")
    assert full == Refused("SMTPDataError: (552, '5.2.2 *** is over quota')")
    assert isinstance(unknown, Refused)
    assert "no such mailbox" in unknown.error
    assert isinstance(nowhere, Refused)
    assert "example.org" not in unknown.error + nowhere.error


async def test_a_huge_body_is_carried(mail: MailServer) -> None:
    body = "\n".join(["." + "x" * 200] * 5_000)  # a megabyte, with lines that begin with a dot
    assert await MailSink(plain(mail)).send(a_message(body=body)) == Accepted()
    assert mail.mails[0].get_content() == body + "\n"


async def test_a_server_that_is_not_there_may_come_back() -> None:
    settings = replace(plain(MailServer()), port=find_free_port())
    found = await MailSink(settings).send(a_message())
    assert isinstance(found, Unreached)


async def test_starttls_and_a_login_hide_what_is_sent(tls: Tls) -> None:
    async with serve_mail(tls.server, password=PASSWORD) as server:
        settings = replace(
            plain(server),
            tls=MailTls.STARTTLS,
            context=tls.client,
            username="warmpool",
            password=PASSWORD,
        )
        assert await MailSink(settings).send(a_message()) == Accepted()
        assert PASSWORD not in repr(settings)

        wrong = replace(settings, password="wrong")
        found = await MailSink(wrong).send(a_message())
        assert isinstance(found, Unreached)  # an operator mends that
        assert "535" in found.error or "SMTPAuthenticationError" in found.error

        without = replace(settings, username="", password="")
        assert isinstance(await MailSink(without).send(a_message()), Unreached)
        assert len(server.mails) == 1


async def test_a_certificate_of_a_stranger_gets_nothing(tls: Tls) -> None:
    async with serve_mail(tls.server, password=PASSWORD) as server:
        settings = replace(
            plain(server),
            tls=MailTls.STARTTLS,
            context=ssl.create_default_context(),
            username="warmpool",
            password=PASSWORD,
        )
        found = await MailSink(settings).send(a_message())
        assert isinstance(found, Unreached)
        assert "certificate" in found.error.lower()
        assert server.mails == []


async def test_a_server_without_tls_gets_nothing_where_tls_is_wanted(
    mail: MailServer, tls: Tls
) -> None:
    for wanted in (MailTls.STARTTLS, MailTls.TLS):
        settings = replace(plain(mail), tls=wanted, context=tls.client)
        assert isinstance(await MailSink(settings).send(a_message()), Unreached)
    assert mail.mails == []


async def test_a_server_that_repeats_the_password_does_not_get_it_logged(mail: MailServer) -> None:
    mail.answers.append(f"451 you said {PASSWORD}")
    settings = replace(plain(mail), password=PASSWORD)
    found = await MailSink(settings).send(a_message())
    assert isinstance(found, Unreached)
    assert (PASSWORD in found.error, "you said ***" in found.error) == (False, True)
