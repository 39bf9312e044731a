"""A template's directory as an archive that is the same for the same files."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from warmpool_cli.archive import detect_provisioner_type, pack_template
from warmpool_cli.errors import UsageInvalid

pytestmark = pytest.mark.integration


def a_template(directory: Path, *, reverse: bool = False) -> Path:
    files = {
        "main.tf": 0o644,
        "scripts/start.sh": 0o755,
        "a.tf": 0o600,
        "main.tfstate": 0o644,
        "main.tfstate.backup": 0o644,
        ".terraform/providers/big": 0o644,
        ".git/config": 0o644,
        "modules/.terraform/x": 0o644,
    }
    for name in sorted(files, reverse=reverse):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
        path.chmod(files[name])
    (directory / "link.tf").symlink_to("main.tf")
    return directory


def test_what_is_packed_is_sorted_and_leaves_out_what_terraform_and_git_keep(tmp_path: Path):
    packed = pack_template(a_template(tmp_path))

    with tarfile.open(fileobj=io.BytesIO(packed.content), mode="r:gz") as tar:
        members = [
            (m.name, oct(m.mode), m.uid, m.gid, m.uname, m.gname, m.mtime, m.linkname)
            for m in tar.getmembers()
        ]
    assert members == [
        ("a.tf", "0o644", 0, 0, "", "", 0, ""),
        ("link.tf", "0o644", 0, 0, "", "", 0, ""),
        ("main.tf", "0o644", 0, 0, "", "", 0, ""),
        ("scripts/start.sh", "0o755", 0, 0, "", "", 0, ""),
    ]
    assert packed.files == ("a.tf", "link.tf", "main.tf", "scripts/start.sh")


def test_the_same_files_are_the_same_bytes(tmp_path: Path):
    first = a_template(tmp_path / "one")
    second = a_template(tmp_path / "two", reverse=True)
    os.utime(second / "main.tf", (1, 1))

    assert pack_template(first).sha256 == pack_template(second).sha256


def test_a_changed_file_is_other_bytes(tmp_path: Path):
    before = pack_template(a_template(tmp_path)).sha256
    (tmp_path / "main.tf").write_text("other")

    assert pack_template(tmp_path).sha256 != before


def test_more_than_can_be_pushed_is_refused_before_it_is_sent(tmp_path: Path):
    (tmp_path / "main.tf").write_text("")
    (tmp_path / "image").write_bytes(os.urandom(33 * 1024 * 1024))

    with pytest.raises(UsageInvalid) as caught:
        pack_template(tmp_path)

    assert caught.value.cause == f"{tmp_path} packs to 33.0 MiB; at most 32 MiB are allowed"


def test_a_link_that_leads_out_is_refused(tmp_path: Path):
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "secret").symlink_to("../outside")

    with pytest.raises(UsageInvalid) as caught:
        pack_template(tmp_path / "template")

    assert (
        caught.value.cause == f"{tmp_path}/template/secret is a link that leads out of the template"
    )


@pytest.mark.parametrize("target", ["modules", "nowhere"])
def test_a_link_to_no_file_is_refused(tmp_path: Path, target: str):
    (tmp_path / "modules").mkdir()
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(UsageInvalid) as caught:
        pack_template(tmp_path)

    assert caught.value.cause == f"{tmp_path}/link is a link to no file"


def test_a_link_within_is_packed_as_what_it_leads_to(tmp_path: Path):
    (tmp_path / "start.sh").write_text("echo hi")
    (tmp_path / "start.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("start.sh")

    packed = pack_template(tmp_path)

    with tarfile.open(fileobj=io.BytesIO(packed.content), mode="r:gz") as tar:
        member = tar.getmember("link")
        content = tar.extractfile(member)
        assert content is not None
        found = (member.isreg(), oct(member.mode), content.read())
    assert found == (True, "0o755", b"echo hi")


def test_what_is_neither_file_nor_link_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UsageInvalid):
        pack_template(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("warmpool.toml", "process"), ("x.tf", "terraform"), ("x.tf.json", "terraform")],
)
def test_the_files_tell_the_type(tmp_path: Path, name: str, kind: str):
    (tmp_path / name).write_text("")

    assert detect_provisioner_type(tmp_path) == kind


def test_a_directory_without_a_template_is_refused(tmp_path: Path):
    with pytest.raises(UsageInvalid) as caught:
        detect_provisioner_type(tmp_path)

    assert caught.value.cause == (
        f"{tmp_path} holds no template: neither a warmpool.toml nor a *.tf file"
    )
