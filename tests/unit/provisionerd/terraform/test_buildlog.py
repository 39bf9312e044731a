"""What people read of a build."""

from __future__ import annotations

import json

from provisionerd.core.provisioner import Level, LogSink
from provisionerd.terraform.buildlog import BuildLog
from provisionerd.terraform.mask import MASK, Masker

Line = tuple[Level, str, str]


def _hook(kind: str, at: str, message: str = "said", action: str = "create") -> str:
    return json.dumps(
        {
            "@level": "info",
            "@message": message,
            "@timestamp": f"2026-11-23T20:19:{at}Z",
            "hook": {"resource": {"addr": "terraform_data.vm"}, "action": action},
            "type": kind,
        }
    )


def _into(said: list[Line]) -> LogSink:
    def sink(level: Level, stage: str, text: str) -> None:
        said.append((level, stage, text))

    return sink


def _collect(*lines: str, masker: Masker | None = None) -> tuple[BuildLog, list[Line]]:
    said: list[Line] = []
    log = BuildLog(_into(said), masker or Masker())
    log.begin("plan")
    for line in lines:
        log.take(line)
    return log, said


def test_a_resource_gets_the_time_it_took() -> None:
    _, said = _collect(
        _hook("apply_start", "28.296424", "terraform_data.vm: Creating..."),
        _hook("apply_complete", "28.500911"),
    )
    assert said == [
        (Level.INFO, "plan", "terraform_data.vm: Creating..."),
        (Level.INFO, "plan", "terraform_data.vm: create done in 0.204 s"),
    ]


def test_what_follows_the_plan_is_the_apply() -> None:
    summary = json.dumps(
        {
            "@level": "info",
            "@message": "Plan: 1 to add.",
            "changes": {"operation": "plan"},
            "type": "change_summary",
        }
    )
    _, said = _collect(summary, _hook("apply_errored", "29.000000"))
    assert said == [
        (Level.INFO, "plan", "Plan: 1 to add."),
        (Level.ERROR, "apply", "said"),
    ]


def test_a_diagnostic_becomes_lines_and_the_first_error_is_kept() -> None:
    diagnostic = json.dumps(
        {
            "@level": "error",
            "@message": "Error: local-exec provisioner error",
            "diagnostic": {
                "severity": "error",
                "summary": "local-exec provisioner error",
                "detail": "Error running command 'x':\n\nexit status 3",
                "address": "terraform_data.vm",
                "range": {"filename": "main.tf", "start": {"line": 7}},
            },
            "type": "diagnostic",
        }
    )
    log, said = _collect(diagnostic)
    assert said == [
        (Level.ERROR, "plan", "Error: local-exec provisioner error (main.tf:7)"),
        (Level.ERROR, "plan", "Error running command 'x':"),
        (Level.ERROR, "plan", "exit status 3"),
    ]
    assert [error.cause for error in log.errors] == [
        "main.tf:7: terraform_data.vm: local-exec provisioner error: Error running command 'x':"
        " exit status 3"
    ]


def test_a_secret_is_learned_before_a_templates_output_is_logged() -> None:
    said: list[Line] = []
    masker = Masker()

    def learn() -> bool:
        masker.add(["made-just-now"])
        return True

    log = BuildLog(_into(said), masker, before_output=learn)
    log.begin("plan")
    log.take(_hook("provision_progress", "28.000000", "vm: token is made-just-now"))
    assert said == [(Level.INFO, "plan", f"vm: token is {MASK}")]


def test_what_may_hold_a_secret_nobody_can_know_yet_is_not_shown() -> None:
    said: list[Line] = []
    log = BuildLog(_into(said), Masker(), before_output=lambda: False)
    log.take(_hook("provision_progress", "28.000000", "vm: token is xyz"))
    error = {"severity": "error", "summary": "GET /?token=xyz", "detail": "Output: xyz"}
    error["address"] = "terraform_data.vm"
    message = {"@level": "error", "@message": "Error: xyz", "diagnostic": error}
    log.take(json.dumps({**message, "type": "diagnostic"}))
    everything = "\n".join([*(text for _, _, text in said), log.errors[0].cause])
    assert "xyz" not in everything
    assert "terraform_data.vm" in everything
