"""Archives from strangers: nothing leaves the target, nothing is made but files and directories."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from provisionerd.core.errors import TemplateInvalid
from provisionerd.store.archive import unpack

pytestmark = pytest.mark.integration


def a_member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = size
    member.linkname = "/etc/passwd"
    return member


def pack(*members: tarfile.TarInfo) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return target.getvalue()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    return target


def unpack_bytes(archive: bytes, target: Path, *, entries_max: int = 100) -> None:
    file = target.parent / "archive.tar.gz"
    file.write_bytes(archive)
    unpack(file, target, bytes_max=1000, entries_max=entries_max)


def test_files_and_directories_are_unpacked(target: Path) -> None:
    script = a_member("sub/run.sh", size=3)
    script.mode = 0o755
    unpack_bytes(
        pack(a_member("./main.tf", size=5), a_member("empty", tarfile.DIRTYPE), script), target
    )
    found = {str(path.relative_to(target)): path.is_dir() for path in target.rglob("*")}
    assert found == {"main.tf": False, "empty": True, "sub": True, "sub/run.sh": False}
    assert (target / "main.tf").read_bytes() == b"xxxxx"
    assert (target / "sub/run.sh").stat().st_mode & 0o100
    assert not (target / "main.tf").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (pack(a_member("../evil")), "'../evil' is no name for a template's file"),
        (pack(a_member("a/../../evil")), "is no name for a template's file"),
        (pack(a_member("/etc/evil")), "'/etc/evil' is no name for a template's file"),
        (pack(a_member("a\\b")), "is no name for a template's file"),
        (pack(a_member("x" * 2000)), "is no name for a template's file"),
        (pack(a_member("link", tarfile.SYMTYPE)), "'link' is a link or a device"),
        (pack(a_member("link", tarfile.LNKTYPE)), "'link' is a link or a device"),
        (pack(a_member("null", tarfile.CHRTYPE)), "'null' is a link or a device"),
        (pack(a_member("pipe", tarfile.FIFOTYPE)), "'pipe' is a link or a device"),
        (pack(a_member("a", size=600), a_member("b", size=600)), "larger than 1000 bytes when"),
        (pack(*(a_member(str(number)) for number in range(101))), "more than 100 files"),
        (pack(a_member("a"), a_member("a/b")), "'b' is both a file and a directory"),
        (b"no archive", "the template's archive is damaged"),
        (gzip.compress(b"no tar" * 200), "the template's archive is damaged"),
        (pack(a_member("a", size=900))[:60], "the template's archive is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_template_must_not_hold_is_refused(
    archive: bytes, message: str, target: Path
) -> None:
    with pytest.raises(TemplateInvalid, match=message.replace("\\", "\\\\")):
        unpack_bytes(archive, target)
    beside = {path.name for path in target.parent.iterdir()}
    assert beside == {"target", "archive.tar.gz"}
    assert not any(path.is_symlink() for path in target.rglob("*"))


def test_a_small_archive_of_a_large_file_is_stopped_early(target: Path) -> None:
    with pytest.raises(TemplateInvalid, match="larger than 1000 bytes"):
        unpack_bytes(pack(a_member("bomb", size=20_000_000)), target)
    assert list(target.iterdir()) == []
