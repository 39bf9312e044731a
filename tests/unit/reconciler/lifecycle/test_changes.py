"""What an owner may set of a workspace."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.core.lifecycle import LifecycleChange, Settings, TemplatePolicy, change_settings
from svckit.errors import FailedPrecondition, ServiceError

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
NEW = Settings(autostart_cron=None, autostart_timezone=None, next_start_at=None, ttl_seconds=3600)
SET = Settings(
    autostart_cron="0 8 * * *",
    autostart_timezone="Europe/Berlin",
    next_start_at=datetime(2030, 1, 2, 7, tzinfo=UTC),
    ttl_seconds=3600,
)


def test_an_autostart_is_planned_at_once() -> None:
    change = LifecycleChange(autostart_cron=" 0  8 * * * ", autostart_timezone="Europe/Berlin")
    assert change_settings(TemplatePolicy(), NEW, change, NOW) == SET


def test_another_time_zone_plans_anew() -> None:
    moved = change_settings(TemplatePolicy(), SET, LifecycleChange(autostart_timezone=""), NOW)
    assert moved.next_start_at == datetime(2030, 1, 2, 8, tzinfo=UTC)
    assert (moved.autostart_cron, moved.autostart_timezone) == ("0 8 * * *", "")


def test_an_empty_expression_ends_the_autostart_and_nothing_else() -> None:
    assert change_settings(TemplatePolicy(), SET, LifecycleChange(autostart_cron=""), NOW) == NEW
    # Also if the template has come to allow none.
    refusing = TemplatePolicy(is_autostart_allowed=False)
    assert change_settings(refusing, SET, LifecycleChange(autostart_cron=""), NOW) == NEW


def test_what_is_unset_stays() -> None:
    assert change_settings(TemplatePolicy(), SET, LifecycleChange(), NOW) == SET


@pytest.mark.parametrize(
    ("policy", "change", "field"),
    [
        (TemplatePolicy(), LifecycleChange(ttl_seconds=59), "ttl_seconds"),
        (TemplatePolicy(), LifecycleChange(ttl_seconds=31 * 86_400), "ttl_seconds"),
        (TemplatePolicy(max_ttl_seconds=3600), LifecycleChange(ttl_seconds=3601), "ttl_seconds"),
        (TemplatePolicy(), LifecycleChange(autostart_timezone="UTC"), "autostart_timezone"),
        (TemplatePolicy(), LifecycleChange(autostart_cron="whenever"), "autostart_cron"),
        (
            TemplatePolicy(is_autostart_allowed=False),
            LifecycleChange(autostart_cron="0 8 * * *"),
            "autostart_cron",
        ),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_field(
    policy: TemplatePolicy, change: LifecycleChange, field: str
) -> None:
    with pytest.raises(ServiceError) as raised:
        change_settings(policy, NEW, change, NOW)
    assert raised.value.field == field
    assert isinstance(raised.value, FailedPrecondition) is not policy.is_autostart_allowed
