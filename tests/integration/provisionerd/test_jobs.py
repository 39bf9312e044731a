"""A job from its offer to its acknowledged report, over real gRPC."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from provisionerd.core.errors import ProvisionError, TemplateInvalid
from provisionerd.core.logbuffer import BATCH_LINES_MAX, LINE_BYTES_MAX
from provisionerd.core.provisioner import (
    Agent,
    BuildResult,
    ImportResult,
    Job,
    Level,
    Parameter,
)
from testkit.worker_lab import WorkerLab
from warmpool.common.v1 import types_pb2
from warmpool.provisioner.v1 import provisioner_pb2 as pb

pytestmark = pytest.mark.integration


async def test_a_build_gets_what_it_needs_and_reports_what_it_made(lab: WorkerLab) -> None:
    # GIVEN a job with files and a tfstate
    async def act(job: Job) -> None:
        job.log(Level.INFO, "apply", "made it")
        await job.keep_state(b"newer")

    lab.provisioner.act = act
    lab.provisioner.result = BuildResult(agents=(Agent(id="a", name="main", token="t"),))
    async with lab.worker() as worker:
        job = lab.fake.post(files={"main.tf": "# it\n", "sub/x.tf": "# x\n"}, tfstate=b"older")
        # WHEN it is done
        await lab.fake.until(lambda: job.is_final)
        await worker.stop()
    # THEN the provisioner had them, privately
    (call,) = lab.provisioner.calls
    assert call.template == {"main.tf": "# it\n", "sub/x.tf": "# x\n"}
    assert call.job.state == b"older"
    assert call.build is not None
    assert call.build.owner.username == "ada"
    # AND all it said arrived, the tfstate before the report
    assert job.completed is not None
    assert [agent.token for agent in job.completed.workspace_build.agents] == ["t"]
    assert (job.uploads, job.texts) == ([b"newer"], ["made it"])
    assert job.heartbeats[1] >= 1
    # AND nothing is left
    assert lab.job_dirs == []


async def test_a_job_begins_only_when_the_control_plane_knows_that_it_arrived(
    lab: WorkerLab,
) -> None:
    lab.fake.fail_next("Heartbeat", grpc.StatusCode.UNAVAILABLE, times=3)
    async with lab.worker():
        job = lab.fake.post()
        await lab.arrival()
        assert lab.fake.calls["Heartbeat"] >= 4
        await lab.fake.until(lambda: job.completed)


async def test_imports_and_dry_runs(lab: WorkerLab) -> None:
    lab.provisioner.imported = ImportResult(parameters=(Parameter(name="cpu", type="number"),))
    lab.provisioner.resources = ("null_resource.a",)
    async with lab.worker():
        imported = lab.fake.post(template_import=pb.TemplateImportJob(template_name="t"))
        planned = lab.fake.post(
            template_dry_run=pb.TemplateDryRunJob(
                parameters=[types_pb2.ParameterValue(name="cpu", value="2")]
            )
        )
        await lab.fake.until(lambda: imported.completed and planned.completed)
    assert imported.completed is not None
    assert [each.name for each in imported.completed.template_import.parameters] == ["cpu"]
    assert planned.completed is not None
    assert list(planned.completed.template_dry_run.resources) == ["null_resource.a"]
    assert lab.fake.calls["DownloadState"] == 0
    assert [call.parameters for call in lab.provisioner.calls if call.parameters] == [{"cpu": "2"}]


@pytest.mark.parametrize(
    ("error", "report"),
    [
        (TemplateInvalid("main.tf:1: no"), ("main.tf:1: no", "VALIDATION", False)),
        (ProvisionError("quota", retryable=True), ("quota", "PROVISIONER", True)),
        (
            RuntimeError("password=hunter2"),
            ("the worker failed: RuntimeError; its log says more", "INTERNAL", True),
        ),
    ],
)
async def test_a_failure_is_reported_with_its_reason(
    lab: WorkerLab, error: Exception, report: tuple[str, str, bool]
) -> None:
    async def act(job: Job) -> None:
        await job.keep_state(b"half")
        raise error

    lab.provisioner.act = act
    async with lab.worker():
        job = lab.fake.post()
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert (job.failed.error, job.failed.reason, job.failed.retryable) == report
    assert job.uploads == [b"half"]


async def test_a_template_that_would_leave_its_directory_is_the_templates_fault(
    lab: WorkerLab,
) -> None:
    async with lab.worker():
        job = lab.fake.post(files={"../evil.tf": ""})
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert job.failed.reason == "VALIDATION"
    assert lab.provisioner.calls == []


async def test_a_job_for_a_provisioner_that_is_not_here_is_failed_for_another_worker(
    lab: WorkerLab,
) -> None:
    async with lab.worker():
        job = lab.fake.post(provisioner_type="other")
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert (job.failed.reason, job.failed.retryable) == ("INTERNAL", True)


async def test_a_version_is_downloaded_once(lab: WorkerLab) -> None:
    async with lab.worker():
        jobs = [lab.fake.post(files={"main.tf": "# same\n"}) for _ in range(3)]
        await lab.fake.until(lambda: all(job.completed for job in jobs))
    assert lab.fake.calls["DownloadTemplate"] == 1


@pytest.mark.parametrize("how", ["graceful", "forced"])
async def test_a_cancelled_job_stops_and_says_so(lab: WorkerLab, how: str) -> None:
    lab.provisioner.is_held = True
    lab.provisioner.is_stubborn = how == "forced"
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        job.cancel, job.cancel_forced = True, how == "forced"
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert (job.failed.error, job.failed.reason) == ("canceled on request", "CANCELED")
    assert call.how_ended == how


async def test_a_job_that_is_cancelled_while_it_is_prepared_never_begins(lab: WorkerLab) -> None:
    lab.fake.fail_next("DownloadState", grpc.StatusCode.UNAVAILABLE, times=10_000)
    async with lab.worker():
        job = lab.fake.post()
        await lab.fake.until(lambda: lab.fake.calls["DownloadState"])
        job.cancel = True
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert job.failed.reason == "CANCELED"
    assert lab.provisioner.calls == []


async def test_a_superseded_job_is_stopped_by_force_and_says_nothing(lab: WorkerLab) -> None:
    lab.provisioner.is_held = lab.provisioner.is_stubborn = True
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        lab.fake.supersede(job)
        async with asyncio.timeout(10):
            await call.ended.wait()
    assert call.how_ended == "forced"
    assert (job.ends, job.uploads, lab.job_dirs) == ([], [], [])


async def test_a_job_nobody_knows_any_more_is_stopped_too(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        del lab.fake.jobs[job.job_id]
        async with asyncio.timeout(10):
            await call.ended.wait()
    assert call.how_ended == "forced"
    assert job.ends == []


async def test_a_newer_attempt_waits_until_the_older_one_is_gone(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=1):
        job = lab.fake.post()
        older = await lab.arrival()
        lab.fake.supersede(job)
        lab.fake.offer(job)
        newer = await lab.arrival()
        assert older.how_ended == "forced"
        newer.proceed.set()
        await lab.fake.until(lambda: job.completed)
    assert job.completed is not None
    assert job.completed.ref.attempt == 2


async def test_log_lines_are_batched_cut_and_never_lost(lab: WorkerLab) -> None:
    total = 3 * BATCH_LINES_MAX

    async def act(job: Job) -> None:
        job.log(Level.WARN, "plan", "x" * (LINE_BYTES_MAX + 1))
        for number in range(total):
            job.log(Level.INFO, "apply", f"line {number}")

    lab.provisioner.act = act
    lab.fake.fail_next("CompleteJob", grpc.StatusCode.UNAVAILABLE)
    async with lab.worker():
        job = lab.fake.post()
        await lab.fake.until(lambda: job.completed)
    long, *texts = job.texts
    assert long.endswith("(cut)")
    assert len(long.encode()) <= LINE_BYTES_MAX
    assert texts == [f"line {number}" for number in range(total)]
    assert [line.sequence for line in job.lines] == list(range(1, total + 2))
    assert max(job.batches) <= BATCH_LINES_MAX


async def test_a_large_tfstate_goes_both_ways_in_parts(lab: WorkerLab) -> None:
    large = bytes(9 * 1024 * 1024 + 1)

    async def act(job: Job) -> None:
        assert job.state is not None
        await job.keep_state(job.state + b"!")

    lab.provisioner.act = act
    async with lab.worker():
        job = lab.fake.post(tfstate=large)
        await lab.fake.until(lambda: job.completed)
    assert job.uploads == [large + b"!"]


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
async def test_a_tfstate_that_is_refused_fails_the_job_and_is_kept_for_a_person(
    lab: WorkerLab, code: grpc.StatusCode
) -> None:
    async def act(job: Job) -> None:
        await job.keep_state(b"precious")

    lab.provisioner.act = act
    lab.fake.fail_next("UploadState", code)
    async with lab.worker():
        job = lab.fake.post()
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert job.failed.error == "the tfstate could not be stored: told to fail"
    (aside,) = (lab.directory / "refused").iterdir()
    assert aside.read_bytes() == b"precious"


async def test_a_result_that_is_refused_fails_the_job(lab: WorkerLab) -> None:
    lab.fake.fail_next("CompleteJob", grpc.StatusCode.INVALID_ARGUMENT)
    async with lab.worker():
        job = lab.fake.post()
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert job.failed.error == "the control plane refused the result: told to fail"


async def test_lines_the_control_plane_refuses_do_not_end_the_beat(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True

    async def act(job: Job) -> None:
        lab.fake.fail_next("Heartbeat", grpc.StatusCode.INVALID_ARGUMENT)
        job.log(Level.INFO, "apply", "poison")

    lab.provisioner.act = act
    async with lab.worker() as worker:
        job = lab.fake.post()
        call = await lab.arrival()
        beats = job.heartbeats[1]
        await lab.fake.until(lambda: job.heartbeats[1] >= beats + 2)
        call.job.log(Level.INFO, "apply", "fine")
        call.proceed.set()
        await lab.fake.until(lambda: job.completed)
        await worker.stop()
        assert lab.counts("warmpool_provisioner_log_lines_dropped_total") == {(): 1.0}
    assert job.texts == ["fine"]


async def test_a_worker_without_a_disk_says_so(lab: WorkerLab) -> None:
    async with lab.worker() as worker:
        async with asyncio.timeout(10):
            await worker.registered.wait()
        (lab.directory / "jobs").write_text("not a directory")
        job = lab.fake.post()
        await lab.fake.until(lambda: job.failed)
    assert job.failed is not None
    assert (job.failed.reason, job.failed.retryable) == ("INTERNAL", True)


async def test_ends_and_slots_are_counted(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=2) as worker:
        job = lab.fake.post()
        call = await lab.arrival()
        assert lab.counts("warmpool_provisioner_slots_in_use") == {(): 1.0}
        assert lab.counts("warmpool_provisioner_slots") == {(): 2.0}
        call.proceed.set()
        await lab.fake.until(lambda: job.completed)
        await worker.stop()
        assert lab.counts("warmpool_provisioner_jobs_total") == {
            ("workspace_build", "succeeded", "fake"): 1.0
        }
        assert lab.counts("warmpool_provisioner_slots_in_use") == {(): 0.0}
