"""The acquire stream, the loss of the control plane, and the worker's own end."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provisionerd.core.jobs import JobRef
from provisionerd.core.provisioner import Job, Level
from provisionerd.store.jobdirs import JobDirs
from svckit.reloading import RETIRED_MAX, ReloadingChannel
from svckit.tls import Followed
from testkit.worker_lab import WorkerLab

pytestmark = pytest.mark.integration


async def test_a_worker_introduces_itself_and_asks_for_its_slots(lab: WorkerLab) -> None:
    async with lab.worker(slots=3, name="ada"):
        await lab.fake.until(lambda: lab.fake.wants)
    (said,) = lab.fake.registered
    assert (said.worker_id, list(said.provisioner_types)) == ("ada", ["fake"])
    assert lab.fake.wants == [3]


async def test_it_asks_again_as_slots_become_free(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=2):
        jobs = [lab.fake.post() for _ in range(3)]
        first = await lab.arrival()
        second = await lab.arrival()
        assert len(lab.provisioner.calls) == 2
        first.proceed.set()
        third = await lab.arrival()
        for call in (second, third):
            call.proceed.set()
        await lab.fake.until(lambda: all(job.completed for job in jobs))
        # two at first, and one more for each that ended
        await lab.fake.until(lambda: sum(lab.fake.wants) == 5)
    assert lab.fake.wants[0] == 2


async def test_what_makes_no_sense_or_comes_twice_takes_no_slot(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=2):
        job = lab.fake.post()
        call = await lab.arrival()
        # WHEN the same attempt is offered again, and a job that cannot be named
        lab.fake.offer(job)
        await lab.fake.until(lambda: lab.fake.wants == [2, 1])
        nameless = lab.fake.post()
        nameless.message.ref.attempt = 0
        await lab.fake.until(lambda: lab.fake.wants == [2, 1, 1])
        # THEN the second slot is still there for a third
        third = lab.fake.post()
        other = await lab.arrival()
        for each in (call, other):
            each.proceed.set()
        await lab.fake.until(lambda: job.completed and third.completed)
    assert len(lab.provisioner.calls) == 2


async def test_it_dials_again_when_asked_and_its_jobs_go_on(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=2):
        job = lab.fake.post()
        call = await lab.arrival()
        lab.fake.ask_reconnect(after_ms=10)
        await lab.fake.until(lambda: len(lab.fake.registered) == 2 and len(lab.fake.wants) == 2)
        assert lab.fake.wants == [2, 1]
        call.proceed.set()
        await lab.fake.until(lambda: job.completed)
    assert call.how_ended == "returned"


async def test_it_dials_again_when_renewals_have_closed_its_connection(
    lab: WorkerLab, tmp_path: Path
) -> None:
    """The third closes the one that the acquire stream began on, and so does the sixth."""
    certificate = tmp_path / "roots"
    certificate.write_text("0")
    files = Followed((certificate,), grpc.ssl_channel_credentials)
    channel = ReloadingChannel(files, lambda _: grpc.aio.insecure_channel(lab.fake.address))
    async with lab.worker(channel=channel):
        await lab.fake.until(lambda: lab.fake.wants)
        for renewal in range(2 * (RETIRED_MAX + 1)):
            renewed = tmp_path / "renewed"
            renewed.write_text(f"{renewal}")
            renewed.replace(certificate)
            assert channel.current
            streams = 1 + (renewal + 1) // (RETIRED_MAX + 1)
            await lab.fake.until(lambda: len(lab.fake.wants) == streams)  # noqa: B023 -- awaited here
        job = lab.fake.post()
        await lab.fake.until(lambda: job.completed)


async def test_a_worker_that_asks_for_nothing_any_more_ends(lab: WorkerLab) -> None:
    """Whatever the reason: its supervisor starts another one, which asks."""

    async def work() -> None:
        async with lab.worker() as worker:
            await lab.fake.until(lambda: lab.fake.wants)
            (acquiring,) = (
                task
                for task in asyncio.all_tasks()
                if getattr(task.get_coro(), "__qualname__", "") == "WorkerLoop._acquire"
            )
            acquiring.cancel()
            await worker.ended.wait()

    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as caught:
            await work()
    assert "LoopEnded('no more jobs are asked for" in repr(caught.value)


async def test_it_dials_again_when_it_is_refused(lab: WorkerLab) -> None:
    lab.fake.fail_next("AcquireJobs", grpc.StatusCode.UNAVAILABLE, times=2)
    lab.fake.fail_next("AcquireJobs", grpc.StatusCode.PERMISSION_DENIED)
    async with lab.worker() as worker:
        await lab.fake.until(lambda: lab.fake.registered)
        async with asyncio.timeout(10):
            await worker.registered.wait()
    assert lab.fake.calls["AcquireJobs"] == 4


async def test_a_job_goes_on_while_the_control_plane_is_away_and_reports_later(
    lab: WorkerLab,
) -> None:
    # GIVEN a job under way
    gone = asyncio.Event()

    async def act(job: Job) -> None:
        job.log(Level.INFO, "apply", "before")
        await gone.wait()
        job.log(Level.INFO, "apply", "after")
        await job.keep_state(b"made meanwhile")

    lab.provisioner.act = act
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        # WHEN the control plane goes, and the job ends in its absence
        await lab.fake.stop()
        gone.set()
        async with asyncio.timeout(10):
            await call.ended.wait()
        assert (job.uploads, job.ends) == ([], [])
        # THEN everything is told when it is back, in order
        await lab.fake.start()
        await lab.fake.until(lambda: job.completed)
        await lab.fake.until(lambda: len(lab.fake.registered) == 2)
    assert (job.uploads, job.texts) == ([b"made meanwhile"], ["before", "after"])


async def test_a_job_that_was_given_to_another_meanwhile_is_not_reported(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        await lab.fake.stop()
        call.proceed.set()
        async with asyncio.timeout(10):
            await call.ended.wait()
        lab.fake.supersede(job)
        await lab.fake.start()
        await lab.fake.until(lambda: len(lab.fake.registered) == 2)
    assert job.ends == []


@pytest.mark.parametrize("is_stubborn", [False, True])
async def test_a_worker_that_is_cut_off_stops_its_job_before_another_may_have_it(
    lab: WorkerLab, is_stubborn: bool
) -> None:
    gone = asyncio.Event()

    async def act(job: Job) -> None:
        await gone.wait()
        await job.keep_state(b"made so far")

    lab.provisioner.act = act
    lab.provisioner.is_held, lab.provisioner.is_stubborn = True, is_stubborn
    lab.fake.hung_seconds = 1.5
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        # WHEN no heartbeat gets through any more
        await lab.fake.stop()
        gone.set()
        async with asyncio.timeout(10):
            await call.ended.wait()
        # THEN the job is stopped; what it made is told, and the job handed back, as soon as may be
        assert call.how_ended == ("forced" if is_stubborn else "graceful")
        await lab.fake.start()
        await lab.fake.until(lambda: job.released)
    assert job.released is not None
    assert job.released.reason == "the worker was cut off from the control plane"
    assert (job.uploads, lab.job_dirs) == ([b"made so far"], [])


async def test_a_job_that_is_heard_of_is_never_stopped_for_silence(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    lab.fake.hung_seconds = 2.0
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        await lab.fake.until(
            lambda: job.heartbeats[1] > 30
        )  # for longer than the silence it may have
        call.proceed.set()
        await lab.fake.until(lambda: job.completed)
    assert call.how_ended == "returned"


async def test_what_a_superseded_attempt_made_last_is_set_aside(lab: WorkerLab) -> None:
    gone = asyncio.Event()

    async def act(job: Job) -> None:
        await gone.wait()
        await job.keep_state(b"precious")

    lab.provisioner.act = act
    async with lab.worker():
        job = lab.fake.post()
        call = await lab.arrival()
        await lab.fake.stop()
        gone.set()
        async with asyncio.timeout(10):
            await call.ended.wait()
        lab.fake.supersede(job)
        await lab.fake.start()
        await lab.fake.until(lambda: len(lab.fake.registered) == 2)
    assert (job.uploads, job.ends, lab.job_dirs) == ([], [], [])
    (aside,) = (lab.directory / "refused").iterdir()
    assert aside.read_bytes() == b"precious"


async def test_at_its_end_a_worker_lets_its_jobs_finish_and_takes_no_more(lab: WorkerLab) -> None:
    lab.provisioner.is_held = True
    async with lab.worker(slots=2) as worker:
        job = lab.fake.post()
        call = await lab.arrival()
        worker.stopping.set()
        await lab.fake.until(lambda: lab.fake.streams_open == 0)
        late = lab.fake.post()
        call.proceed.set()
        await worker.stop()
    assert job.completed is not None
    assert late.heartbeats[1] == 0


async def test_a_job_that_takes_longer_is_stopped_and_handed_back(lab: WorkerLab) -> None:
    async def act(job: Job) -> None:
        await job.keep_state(b"so far")

    lab.provisioner.act = act
    lab.provisioner.is_held = True
    async with lab.worker(drain_seconds=0.5) as worker:
        job = lab.fake.post()
        call = await lab.arrival()
        await worker.stop()
    assert call.how_ended == "graceful"
    assert job.released is not None
    assert job.released.reason == "the worker is shutting down"
    assert job.uploads == [b"so far"]


async def test_a_job_that_will_not_stop_is_made_to(lab: WorkerLab) -> None:
    lab.provisioner.is_held = lab.provisioner.is_stubborn = True
    async with lab.worker(drain_seconds=0.5) as worker:
        job = lab.fake.post()
        call = await lab.arrival()
        await worker.stop()
    assert call.how_ended == "forced"
    assert job.released is not None


async def test_a_job_that_has_not_begun_is_handed_back_at_once(lab: WorkerLab) -> None:
    lab.fake.fail_next("DownloadState", grpc.StatusCode.UNAVAILABLE, times=10_000)
    async with lab.worker(drain_seconds=60.0) as worker:
        job = lab.fake.post()
        await lab.fake.until(lambda: lab.fake.calls["DownloadState"])
        await worker.stop()
    assert job.released is not None
    assert lab.provisioner.calls == []


async def test_what_a_worker_leaves_when_it_is_ended_by_force_is_told_by_the_next(
    lab: WorkerLab,
) -> None:
    # GIVEN the directory of a worker that was ended by force: a tfstate that was never sent, and a
    # command that still runs
    job = lab.fake.post()
    lab.fake.take(job)
    ref = JobRef(job_id=uuid.UUID(job.job_id), attempt=1)
    job_dir = JobDirs(lab.directory / "jobs").make(ref)
    job_dir.write_unsent(b"unsent")
    orphan = await asyncio.create_subprocess_exec(
        "sleep", "600", cwd=job_dir.work_dir, start_new_session=True
    )
    # WHEN the next one starts
    async with lab.worker():
        await lab.fake.until(lambda: job.released)
        # THEN the command is ended, the tfstate stored, the job handed back
        async with asyncio.timeout(10):
            assert await orphan.wait() == -9
    assert job.released is not None
    assert job.released.reason == "the worker was restarted"
    assert (job.uploads, lab.job_dirs) == ([b"unsent"], [])


async def test_what_a_command_wrote_last_counts_more_than_what_was_kept(lab: WorkerLab) -> None:
    job = lab.fake.post()
    lab.fake.take(job)
    ref = JobRef(job_id=uuid.UUID(job.job_id), attempt=1)
    job_dir = JobDirs(lab.directory / "jobs").make(ref)
    job_dir.write_unsent(b"older")
    (job_dir.work_dir / "left.tfstate").write_bytes(b"newer")
    async with lab.worker():
        await lab.fake.until(lambda: job.released)
    assert job.uploads == [b"newer"]


async def test_what_is_superseded_meanwhile_is_set_aside(lab: WorkerLab) -> None:
    job = lab.fake.post()
    lab.fake.take(job)
    ref = JobRef(job_id=uuid.UUID(job.job_id), attempt=1)
    JobDirs(lab.directory / "jobs").make(ref).write_unsent(b"old")
    lab.fake.supersede(job)
    async with lab.worker():
        await lab.fake.until(lambda: lab.fake.calls["UploadState"])
        lab.fake.offer(job)
        await lab.fake.until(lambda: job.completed)
    assert (job.uploads, lab.job_dirs) == ([], [])
    (aside,) = (lab.directory / "refused").iterdir()
    assert (aside.name, aside.read_bytes()) == (f"{ref.directory_name}.tfstate", b"old")
