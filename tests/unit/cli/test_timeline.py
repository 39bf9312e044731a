"""The steps of a claim, as figures and as a table."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from warmpool.control.v1.workspaces_pb2 import Claim
from warmpool_cli.output import Output, OutputFormat
from warmpool_cli.render.timeline import TimelineStep, build_timeline, timeline_json, timeline_table

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def a_claim(**milliseconds: float) -> Claim:
    claim = Claim(id="c")
    for name, value in milliseconds.items():
        getattr(claim, f"{name}_at").FromDatetime(START + timedelta(milliseconds=value))
    return claim


def test_every_step_is_measured_from_the_request():
    claim = a_claim(requested=0, claimed=3.25, built=180, delivered=181.5, applied=240)

    assert [(s.name, s.milliseconds) for s in build_timeline(claim)] == [
        ("requested", 0.0),
        ("claimed", 3.25),
        ("built", 180.0),
        ("delivered", 181.5),
        ("applied", 240.0),
    ]


def test_what_has_not_happened_has_no_figure():
    steps = build_timeline(a_claim(requested=0, claimed=2))

    assert steps[2] == TimelineStep(name="built", at=None, milliseconds=None)
    assert timeline_json(steps)[1:3] == [
        {"step": "claimed", "at": "2026-11-24T08:00:00.002000+00:00", "milliseconds": 2.0},
        {"step": "built", "at": None, "milliseconds": None},
    ]


def test_the_table_shows_both_distances():
    stream = io.StringIO()
    claim = a_claim(requested=0, claimed=3.25, built=1180)

    Output(OutputFormat.TEXT, stream).draw(timeline_table(build_timeline(claim)))

    rows = [line.split()[:3] for line in stream.getvalue().splitlines() if line.strip()]
    assert rows[1:] == [
        ["requested", "0.0", "-"],
        ["claimed", "3.2", "+3.2"],
        ["built", "1,180.0", "+1,176.8"],
        ["delivered", "-", "-"],
        ["applied", "-", "-"],
    ]
