"""Lines as Terraform 1.11.4 printed them, shortened to what is read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from provisionerd.core.provisioner import Level
from provisionerd.terraform.events import (
    Diagnostic,
    Event,
    Finished,
    PlannedChange,
    Started,
    Summary,
    Text,
    read,
)

PLANNED = (
    '{"@level":"info","@message":"terraform_data.b[0]: Plan to replace","@module":"terraform.ui",'
    '"@timestamp":"2026-11-23T20:19:28.562703Z","change":{"resource":{"addr":"terraform_data.b[0]",'
    '"module":"","resource":"terraform_data.b[0]","implied_provider":"terraform",'
    '"resource_type":"terraform_data","resource_name":"b","resource_key":0},"action":"replace",'
    '"reason":"cannot_update"},"type":"planned_change"}'
)
SUMMARY = (
    '{"@level":"info","@message":"Plan: 1 to add, 0 to change, 1 to destroy.",'
    '"changes":{"add":1,"change":0,"import":0,"remove":1,"operation":"plan"},'
    '"type":"change_summary"}'
)
STARTED = (
    '{"@level":"info","@message":"terraform_data.a: Creating...",'
    '"@timestamp":"2026-11-23T20:19:28.296424Z","hook":{"resource":{"addr":"terraform_data.a"},'
    '"action":"create"},"type":"apply_start"}'
)
FINISHED = (
    '{"@level":"info","@message":"terraform_data.a: Creation complete after 1s [id=65e4]",'
    '"@timestamp":"2026-11-23T20:19:28.500911Z","hook":{"resource":{"addr":"terraform_data.a"},'
    '"action":"create","id_key":"id","id_value":"65e4","elapsed_seconds":1},'
    '"type":"apply_complete"}'
)
DIAGNOSTIC = (
    '{"@level":"error","@message":"Error: Unsupported argument","diagnostic":{"severity":"error",'
    '"summary":"Unsupported argument","detail":"An argument named \\"bogus\\" is not expected '
    'here.","range":{"filename":"main.tf","start":{"line":15,"column":33,"byte":303},'
    '"end":{"line":15,"column":38,"byte":308}}},"type":"diagnostic"}'
)
OUTPUT = (
    '{"@level":"info","@message":"terraform_data.a: (local-exec): hello",'
    '"hook":{"resource":{"addr":"terraform_data.a"},"provisioner":"local-exec","output":"hello"},'
    '"type":"provision_progress"}'
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            PLANNED,
            PlannedChange(
                message="terraform_data.b[0]: Plan to replace",
                address="terraform_data.b[0]",
                resource_type="terraform_data",
                action="replace",
                reason="cannot_update",
            ),
        ),
        (SUMMARY, Summary(message="Plan: 1 to add, 0 to change, 1 to destroy.", operation="plan")),
        (
            STARTED,
            Started(
                message="terraform_data.a: Creating...",
                address="terraform_data.a",
                action="create",
                at=datetime(2026, 11, 23, 20, 19, 28, 296424, tzinfo=UTC),
            ),
        ),
        (
            FINISHED,
            Finished(
                message="terraform_data.a: Creation complete after 1s [id=65e4]",
                address="terraform_data.a",
                action="create",
                at=datetime(2026, 11, 23, 20, 19, 28, 500911, tzinfo=UTC),
                failed=False,
            ),
        ),
        (
            DIAGNOSTIC,
            Diagnostic(
                level=Level.ERROR,
                summary="Unsupported argument",
                detail='An argument named "bogus" is not expected here.',
                filename="main.tf",
                line=15,
            ),
        ),
        (
            OUTPUT,
            Text(
                level=Level.INFO,
                message="terraform_data.a: (local-exec): hello",
                from_outside=True,
            ),
        ),
        (
            '{"@level":"info","@message":"Terraform 1.11.4","terraform":"1.11.4","type":"version"}',
            Text(level=Level.DEBUG, message="Terraform 1.11.4"),
        ),
        ("panic: not JSON", Text(level=Level.INFO, message="panic: not JSON")),
        ('["JSON of another shape"]', Text(level=Level.INFO, message='["JSON of another shape"]')),
    ],
)
def test_every_line_becomes_one_event(line: str, expected: Event) -> None:
    assert read(line) == expected


def test_a_cause_names_place_and_reason_on_one_line() -> None:
    event = read(DIAGNOSTIC)
    assert isinstance(event, Diagnostic)
    assert event.cause == (
        'main.tf:15: Unsupported argument: An argument named "bogus" is not expected here.'
    )
