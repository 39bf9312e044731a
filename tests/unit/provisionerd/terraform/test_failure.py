"""Whose fault it is, and whether repeating may help."""

from __future__ import annotations

from provisionerd.commands.run import Outcome
from provisionerd.core.errors import (
    ParameterInvalid,
    ProvisionCanceled,
    ProvisionError,
    TemplateInvalid,
)
from provisionerd.core.provisioner import Level
from provisionerd.terraform.events import Diagnostic
from provisionerd.terraform.failure import explain, needs_init


def _an_outcome(
    *,
    exit_code: int = 1,
    stderr: tuple[str, ...] = (),
    asked_to_stop: bool = False,
    timed_out: bool = False,
) -> Outcome:
    return Outcome(
        exit_code=exit_code, stderr=stderr, asked_to_stop=asked_to_stop, timed_out=timed_out
    )


def _an_error(summary: str = "Invalid", *, filename: str = "", address: str = "") -> Diagnostic:
    return Diagnostic(
        level=Level.ERROR, summary=summary, filename=filename, line=3, address=address
    )


def test_an_error_in_the_template_is_the_templates_fault_at_import() -> None:
    error = explain("plan", _an_outcome(), [_an_error(filename="main.tf")], template_only=True)
    assert (type(error), error.message, error.retryable) == (
        TemplateInvalid,
        "main.tf:3: Invalid",
        False,
    )


def test_an_error_of_a_parameter_is_its_givers_fault_in_a_build() -> None:
    diagnostic = _an_error("Wrong", filename="main.tf", address="module.a.data.coder_parameter.x")
    error = explain("plan", _an_outcome(), [diagnostic], template_only=False)
    assert type(error) is ParameterInvalid


def test_a_resource_that_fails_is_nobodys_fault_and_is_not_repeated() -> None:
    error = explain("apply", _an_outcome(), [_an_error(address="a.b")], template_only=False)
    assert (type(error), error.message, error.retryable) == (
        ProvisionError,
        "a.b: Invalid",
        False,
    )


def test_a_download_that_fails_may_be_repeated() -> None:
    assert explain("init", _an_outcome(), [_an_error()], template_only=True).retryable


def test_a_crash_names_the_signal_and_may_be_repeated() -> None:
    error = explain("plan", _an_outcome(exit_code=-9, stderr=("killed",)), [], template_only=False)
    assert (error.message, error.retryable) == (
        "terraform plan was ended by signal 9: killed\nkilled",
        True,
    )


def test_a_box_on_standard_error_is_read_for_its_cause() -> None:
    box = ("╷", "│ Error: Invalid CLI configuration", "│ ", "│ line 1", "╵")
    error = explain("show", _an_outcome(stderr=box), [], template_only=False)
    assert error.message.splitlines()[0] == (
        "terraform show failed with exit code 1: Invalid CLI configuration"
    )


def test_being_asked_to_stop_wins_over_what_terraform_says_then() -> None:
    outcome = _an_outcome(asked_to_stop=True)
    error = explain("apply", outcome, [_an_error("execution halted")], template_only=False)
    assert type(error) is ProvisionCanceled


def test_a_provider_that_crashes_is_not_the_templates_fault() -> None:
    error = explain(
        "plan", _an_outcome(), [_an_error("Plugin error", filename="main.tf")], template_only=True
    )
    assert (type(error), error.retryable) == (ProvisionError, True)


def test_a_timeout_says_so() -> None:
    error = explain("apply", _an_outcome(timed_out=True), [], template_only=False)
    assert "longer than allowed" in error.message


def test_what_init_would_mend_is_known() -> None:
    assert needs_init([_an_error("Module not installed")])
    assert needs_init([_an_error("Error: Inconsistent dependency lock file")])
    assert not needs_init([_an_error("Unsupported argument")])
