"""The template cache and the job directories on a real disk."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from provisionerd.core.errors import ControlPlaneUnavailable, TemplateInvalid
from provisionerd.core.jobs import JobRef
from provisionerd.store.jobdirs import DataDirInUse, JobDirs
from provisionerd.store.templates import TemplateCache
from testkit.fake_reconciler_jobs import pack_template

pytestmark = pytest.mark.integration

REF = JobRef(job_id=uuid.UUID(int=7), attempt=2)
Download = Callable[[], AsyncGenerator[bytes]]


class Source:
    """Serves one archive and counts how often."""

    def __init__(self, archive: bytes) -> None:
        self.archive = archive
        self.sha256 = hashlib.sha256(archive).hexdigest()
        self.count = 0

    async def download(self) -> AsyncGenerator[bytes]:
        self.count += 1
        await asyncio.sleep(0)
        yield self.archive[:10]
        yield self.archive[10:]


@pytest.fixture
def cache(tmp_path: Path) -> TemplateCache:
    cache = TemplateCache(tmp_path / "templates", versions_max=2, archive_bytes_max=10_000)
    cache.prepare()
    return cache


def a_source(name: str) -> Source:
    return Source(pack_template({"main.tf": f"# {name}\n"}))


async def test_many_jobs_share_one_download(cache: TemplateCache) -> None:
    source = a_source("a")

    async def use() -> str:
        async with cache.use(source.sha256, source.download) as path:
            return (path / "main.tf").read_text()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(use()) for _ in range(5)]
    assert {task.result() for task in tasks} == {"# a\n"}
    assert (await use(), source.count) == ("# a\n", 1)


async def test_a_later_process_finds_what_is_whole_and_wipes_what_is_not(tmp_path: Path) -> None:
    source = a_source("a")
    directory = tmp_path / "templates"
    before = TemplateCache(directory)
    before.prepare()
    async with before.use(source.sha256, source.download):
        pass
    (directory / "x.partial").mkdir()
    (directory / "x.partial.tar.gz").touch()

    after = TemplateCache(directory)
    after.prepare()
    async with after.use(source.sha256, source.download):
        assert source.count == 1
    assert [path.name for path in directory.iterdir()] == [source.sha256]


async def test_an_archive_that_is_not_the_one_asked_for_is_not_kept(
    cache: TemplateCache, tmp_path: Path
) -> None:
    source = a_source("a")
    wrong = "0" * 64
    with pytest.raises(ControlPlaneUnavailable, match="DATA_LOSS"):
        async with cache.use(wrong, source.download):
            pass
    assert list((tmp_path / "templates").iterdir()) == []


async def test_an_archive_without_end_is_refused(cache: TemplateCache, tmp_path: Path) -> None:
    async def download() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(1000)

    with pytest.raises(TemplateInvalid, match="larger than 10000 bytes"):
        async with cache.use("0" * 64, download):
            pass
    assert list((tmp_path / "templates").iterdir()) == []


async def test_old_versions_go_but_not_while_they_are_used(
    cache: TemplateCache, tmp_path: Path
) -> None:
    first, second, third = a_source("1"), a_source("2"), a_source("3")
    async with cache.use(first.sha256, first.download) as path:
        for each in (second, third):
            async with cache.use(each.sha256, each.download):
                pass
        assert (path / "main.tf").exists()
    fourth = a_source("4")
    async with cache.use(fourth.sha256, fourth.download):
        kept = {path.name for path in (tmp_path / "templates").iterdir()}
    assert len(kept) == 2
    assert fourth.sha256 in kept


def test_a_job_has_a_private_directory_and_leaves_none(tmp_path: Path) -> None:
    dirs = JobDirs(tmp_path / "jobs")
    job_dir = dirs.make(REF)
    assert job_dir.work_dir.stat().st_mode & 0o777 == 0o700
    locked = job_dir.work_dir / "modules"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0o500)
    dirs.remove(job_dir)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_what_a_crash_leaves_is_found(tmp_path: Path) -> None:
    job_dir = JobDirs(tmp_path / "jobs").make(REF)
    job_dir.write_unsent(b"one")
    job_dir.write_unsent(b"two")
    (tmp_path / "jobs" / "rubbish").mkdir()

    dirs = JobDirs(tmp_path / "jobs")
    (found,) = dirs.list_leftovers()
    assert (found.ref, found.read_unsent()) == (REF, b"two")
    assert (found.root / "tfstate.unsent").stat().st_mode & 0o777 == 0o600
    found.clear_unsent()
    assert found.read_unsent() is None
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [REF.directory_name]


def test_what_is_refused_is_set_aside(tmp_path: Path) -> None:
    dirs = JobDirs(tmp_path / "jobs")
    job_dir = dirs.make(REF)
    assert job_dir.set_aside() is None
    job_dir.write_unsent(b"precious")
    aside = job_dir.set_aside()
    dirs.remove(job_dir)
    assert aside is not None
    assert aside.read_bytes() == b"precious"


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    dirs = JobDirs(tmp_path / "jobs")
    with dirs.lock(), pytest.raises(DataDirInUse, match="in use by another"), dirs.lock():
        pass
    with dirs.lock():
        assert dirs.list_leftovers() == ()
