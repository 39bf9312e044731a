"""What may be asked for people, and how a refusal says what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from reconciler.core.people import (
    check_email,
    check_key,
    check_organization_roles,
    check_page_size,
    check_site_roles,
    check_text,
    check_username,
    refuse_system_user,
    token_expiry,
)
from svckit.errors import FailedPrecondition, InvalidArgument
from testkit.clock import EPOCH

DAY = 24 * 3600


@pytest.mark.parametrize(
    ("seconds", "lifetime"),
    [
        (0, timedelta(days=30)),
        (1, timedelta(seconds=1)),
        (365 * DAY, timedelta(days=365)),
    ],
)
def test_a_token_lives_as_long_as_was_asked_for(seconds: int, lifetime: timedelta) -> None:
    assert token_expiry(seconds, EPOCH) == EPOCH + lifetime


@pytest.mark.parametrize("seconds", [-1, 365 * DAY + 1, 2**62])
def test_a_token_lives_a_year_at_most(seconds: int) -> None:
    with pytest.raises(InvalidArgument, match=r"1 to 31536000 \(a year\), or 0 for 30 days"):
        token_expiry(seconds, EPOCH)


def test_roles_are_kept_once_and_in_order() -> None:
    assert check_site_roles(["template-admin", "owner", "owner"]) == ("owner", "template-admin")
    assert check_site_roles([]) == ()
    assert check_organization_roles(["organization-admin"]) == ("organization-admin",)


@pytest.mark.parametrize(
    ("check", "role", "allowed"),
    [
        (check_site_roles, "organization-admin", '"owner", "template-admin", "auditor"'),
        (check_site_roles, "member", '"owner", "template-admin", "auditor"'),
        (check_site_roles, "", '"owner", "template-admin", "auditor"'),
        (check_organization_roles, "owner", '"organization-admin"'),
        (check_organization_roles, "organization-member", '"organization-admin"'),
    ],
)
def test_a_role_that_cannot_be_given_is_refused_with_those_that_can(
    check: Callable[[list[str]], object], role: str, allowed: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"allowed: {allowed}") as caught:
        check([role])
    assert (caught.value.reason, caught.value.field) == ("ROLE_INVALID", "roles")


@pytest.mark.parametrize("name", ["me", "", "Ada", "a--b", "-a", "a" * 33, "a\0b", "*"])
def test_a_user_name_is_a_label_that_means_nothing_else(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_username(name)
    assert (caught.value.reason, caught.value.field) == ("NAME_INVALID", "username")


def test_a_user_name_is_kept_as_it_is() -> None:
    assert check_username("ada-2") == "ada-2"


@pytest.mark.parametrize("email", ["", "ada@example.org", "a.b+c@x", "ada@exämple.org"])
def test_addresses(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        *("ada", "@x", "ada@", "a@b@c", "a b@c", "a,b@c", "a\nb@c", "a" * 254 + "@x", "<a@b>"),
        *("ünï@example.org", "a..b@c", ".a@b", "a@b..c", "a]@b"),
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidArgument, match=r"such as ada@example\.org"):
        check_email(email)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "a" * 129, "\0"])
def test_texts_for_people_are_one_printable_line(text: str) -> None:
    with pytest.raises(InvalidArgument, match="name: give 0 to 128 printable characters"):
        check_text(text, "name")


def test_a_text_may_be_missing_only_where_it_is_not_needed() -> None:
    assert check_text("", "name") == ""
    assert check_text("Ada Lovelace, née Byron", "name") == "Ada Lovelace, née Byron"
    with pytest.raises(InvalidArgument, match="name: give 1 to 128"):
        check_text(" ", "name", required=True)


@pytest.mark.parametrize(
    ("kind", "organization", "tags", "field"),
    [
        ("reconciler", "", {}, "kind"),
        ("", "", {}, "kind"),
        ("gateway", "moon", {}, "organization"),
        ("gateway", "", {"zone": "eu"}, "tags"),
        ("provisioner", "", {"": "eu"}, "tags"),
        ("provisioner", "", {"zone": "e\nu"}, "tags"),
        ("provisioner", "", {f"t{number}": "" for number in range(33)}, "tags"),
    ],
)
def test_a_key_no_service_can_use_is_refused(
    kind: str, organization: str, tags: Mapping[str, str], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_key(kind, organization, tags)
    assert caught.value.field == field


def test_keys_of_either_kind() -> None:
    check_key("gateway", "", {})
    check_key("provisioner", "moon", {"zone": "eu"})


@pytest.mark.parametrize(("asked", "given"), [(0, 100), (1, 1), (500, 500)])
def test_page_sizes(asked: int, given: int) -> None:
    assert check_page_size(asked, 100, 500) == given


@pytest.mark.parametrize("asked", [-1, 501])
def test_a_page_is_neither_negative_nor_endless(asked: int) -> None:
    with pytest.raises(InvalidArgument, match="1 to 500, or 0 for 100"):
        check_page_size(asked, 100, 500)


def test_the_system_user_is_changed_by_nobody() -> None:
    refuse_system_user(is_system=False, username="ada", deed="has no roles")
    with pytest.raises(FailedPrecondition, match='"prebuilds" is the system user') as caught:
        refuse_system_user(is_system=True, username="prebuilds", deed="has no roles")
    assert caught.value.reason == "SYSTEM_USER"
