"""Whom an event is told, and how. A delivery is one message to one person or one sink.

The system user and people who are barred are never told. Everybody who is told has it in the inbox,
and by mail if they have an address and the installation sends mail; where they said otherwise,
what they said counts. The installation's own sinks hear of every event once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.notifications.kinds import Channel

__all__ = ["Event", "Person", "PlannedDelivery", "Target", "is_on", "is_told", "plan_fan_out"]

SITE_ROLES_TOLD: Final = frozenset({"owner", "template-admin"})
ORGANIZATION_ROLES_TOLD: Final = frozenset({"organization-admin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something somebody should know. `recipient_id` is whom it is for; None means those who look
    after the organization's templates.
    """

    id: UUID
    kind: str
    recipient_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who might be told. `roles` are site-wide, `organization_roles` those where it happened;
    `preferences` are by kind and channel.
    """

    user_id: UUID
    email: str = ""
    roles: frozenset[str] = frozenset()
    organization_roles: frozenset[str] = frozenset()
    is_disabled: bool = False
    preferences: Mapping[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A sink of the installation. `name` tells it from others on its channel."""

    channel: Channel
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDelivery:
    """One message that is to go out. No recipient: it is for a sink of the installation."""

    target: Target
    recipient_id: UUID | None = None


def plan_fan_out(
    event: Event, people: Iterable[Person], targets: Iterable[Target]
) -> tuple[PlannedDelivery, ...]:
    """The deliveries of an event. `targets` are the sinks there are; mail is one of them."""
    known = tuple(targets)
    sends_mail = any(target.channel is Channel.EMAIL for target in known)
    planned: list[PlannedDelivery] = []
    for person in people:
        if not is_told(event, person):
            continue
        if is_on(person, event.kind, Channel.INBOX):
            planned.append(_to(person, Channel.INBOX))
        if sends_mail and person.email and is_on(person, event.kind, Channel.EMAIL):
            planned.append(_to(person, Channel.EMAIL))
    planned += [
        PlannedDelivery(target=target) for target in known if target.channel is not Channel.EMAIL
    ]
    return tuple(planned)


def is_told(event: Event, person: Person) -> bool:
    """Whether an event is for somebody."""
    if person.is_disabled or person.user_id == SYSTEM_USER_ID:
        return False
    if event.recipient_id is not None:
        return person.user_id == event.recipient_id
    return bool(
        person.roles & SITE_ROLES_TOLD or person.organization_roles & ORGANIZATION_ROLES_TOLD
    )


def is_on(person: Person, kind: str, channel: Channel) -> bool:
    """Whether somebody wants this kind on this channel; they do unless they said otherwise."""
    return person.preferences.get((kind, channel.value), True)


def _to(person: Person, channel: Channel) -> PlannedDelivery:
    return PlannedDelivery(target=Target(channel=channel), recipient_id=person.user_id)
