"""What is said of a job's end, by what happened and who asked for it."""

from __future__ import annotations

import pytest

from provisionerd.core.errors import (
    ControlPlaneRefused,
    ParameterInvalid,
    ProvisionCanceled,
    ProvisionError,
    TemplateInvalid,
    WorkerUnfit,
)
from provisionerd.core.jobs import Completion, JobFailure
from provisionerd.core.provisioner import BuildResult
from provisionerd.core.reports import (
    Ended,
    HandBack,
    Raised,
    Report,
    SaidNothing,
    Stopped,
    decide_report,
)

DONE = Ended(result=BuildResult())
OBEYED = Raised(error=ProvisionCanceled())
NOTHING = SaidNothing()
COMPLETION = Completion(result=BuildResult())
CANCELED = JobFailure(error="canceled on request", reason="CANCELED", retryable=False)
HANDED_BACK = HandBack(reason="the worker is shutting down")


def raised(error: Exception) -> Raised:
    return Raised(error=error)


@pytest.mark.parametrize(
    ("end", "canceled", "draining", "report"),
    [
        (DONE, False, False, COMPLETION),
        (DONE, True, True, COMPLETION),  # work that is done is done
        (OBEYED, True, False, CANCELED),
        (OBEYED, True, True, CANCELED),
        (OBEYED, False, True, HANDED_BACK),
        (Stopped(), True, False, CANCELED),
        (Stopped(), False, True, HANDED_BACK),
        (
            OBEYED,
            False,
            False,
            JobFailure(
                error="the provisioner stopped although nobody asked it to",
                reason="INTERNAL",
                retryable=True,
            ),
        ),
        (
            raised(TemplateInvalid("main.tf:3: no such type")),
            False,
            False,
            JobFailure(error="main.tf:3: no such type", reason="VALIDATION", retryable=False),
        ),
        (
            raised(ParameterInvalid("cpu is 0")),
            True,
            True,
            JobFailure(error="cpu is 0", reason="VALIDATION", retryable=False),
        ),
        (
            raised(ProvisionError("quota", retryable=True)),
            False,
            False,
            JobFailure(error="quota", reason="PROVISIONER", retryable=True),
        ),
        (
            raised(WorkerUnfit("no provisioner 'x'")),
            False,
            False,
            JobFailure(error="no provisioner 'x'", reason="INTERNAL", retryable=True),
        ),
        (
            raised(RuntimeError("token=hunter2")),
            False,
            False,
            JobFailure(
                error="the worker failed: RuntimeError; its log says more",
                reason="INTERNAL",
                retryable=True,
            ),
        ),
    ],
)
def test_the_report_of_an_end(
    end: Ended | Raised | Stopped, canceled: bool, draining: bool, report: Report
) -> None:
    assert decide_report(end, superseded=False, canceled=canceled, draining=draining) == report
    assert decide_report(end, superseded=True, canceled=canceled, draining=draining) == NOTHING


def test_what_the_control_plane_says_is_passed_on() -> None:
    end = raised(ControlPlaneRefused("FAILED_PRECONDITION", "no key opens the tfstate"))

    report = decide_report(end, superseded=False, canceled=False, draining=False)

    assert report == JobFailure(
        error="the control plane refused: no key opens the tfstate",
        reason="INTERNAL",
        retryable=True,
    )


def test_a_tfstate_that_is_nowhere_comes_before_everything_but_silence() -> None:
    assert decide_report(
        DONE, superseded=False, canceled=False, draining=False, tfstate_refused="too large"
    ) == JobFailure(
        error="the tfstate could not be stored: too large", reason="INTERNAL", retryable=False
    )
    assert (
        decide_report(
            DONE, superseded=True, canceled=False, draining=False, tfstate_refused="too large"
        )
        == NOTHING
    )
