"""What one `terraform init` leaves for the jobs after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisionerd.core.errors import ProvisionCanceled
from provisionerd.core.provisioner import Cancel
from provisionerd.terraform.initcache import InitCache, Installed

LOCK = """provider "registry.terraform.io/hashicorp/aws" {
  version     = "5.100.0"
  constraints = ">= 5.0.0"
  hashes = [
    "h1:xyz=",
    "zh:abc",
  ]
}
"""


def _install(cache: InitCache, key: str, source_dir: Path) -> Installed:
    installed = cache.find(key, "terraform")
    installed.begin()
    installed.complete(source_dir)
    return installed


@pytest.fixture
def cache(tmp_path: Path) -> InitCache:
    cache = InitCache(tmp_path / "cache")
    cache.prepare()
    return cache


def test_later_jobs_get_the_lock_file_without_the_digests(cache: InitCache, tmp_path: Path) -> None:
    (tmp_path / ".terraform.lock.hcl").write_text(LOCK)
    installed = _install(cache, "key", tmp_path)
    assert installed.is_complete
    installed.reuse(tmp_path)
    assert (tmp_path / ".terraform.lock.hcl").read_text() == (
        'provider "registry.terraform.io/hashicorp/aws" {\n'
        '  version     = "5.100.0"\n'
        '  constraints = ">= 5.0.0"\n'
        "}\n"
    )


def test_an_init_that_did_not_end_does_not_count(cache: InitCache) -> None:
    installed = cache.find("key", "terraform")
    installed.begin()
    (installed.data_dir / "half").touch()
    assert not installed.is_complete
    installed.begin()
    assert list(installed.data_dir.iterdir()) == []


def test_terraform_and_tofu_do_not_share(cache: InitCache, tmp_path: Path) -> None:
    _install(cache, "key", tmp_path)
    assert not cache.find("key", "tofu").is_complete


def test_what_is_old_is_forgotten_only_when_there_is_too_much(
    cache: InitCache, tmp_path: Path
) -> None:
    installed = [_install(cache, f"key-{number}", tmp_path) for number in range(64)]
    for old in installed[:2]:
        os.utime(old.root / "complete", (1000, 1000))
    newest = _install(cache, "newest", tmp_path)
    assert [each.is_complete for each in (*installed[:3], newest)] == [False, True, True, True]


async def test_waiting_for_another_init_ends_when_the_job_is_cancelled(cache: InitCache) -> None:
    cancel = Cancel()
    async with cache.lock(Cancel()):
        cancel.graceful.set()
        with pytest.raises(ProvisionCanceled):
            async with cache.lock(cancel):
                pytest.fail("two inits at once")
    async with cache.lock(Cancel()):
        pass
