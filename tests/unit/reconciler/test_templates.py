"""What may be pushed: headers and archives."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from reconciler.core.templates import (
    ARCHIVE_BYTES_MAX,
    CHUNK_BYTES_MAX,
    Archive,
    Push,
    Upload,
    check_push,
    check_version_name,
)
from svckit.errors import InvalidArgument, ResourceExhausted

PUSH = Push(
    template="docker-small",
    version="",
    provisioner_type="terraform",
    is_promoted=True,
    message="first",
    tags={"zone": "eu"},
)
GZIP = b"\x1f\x8b"


@pytest.mark.parametrize(
    "push",
    [
        PUSH,
        replace(PUSH, provisioner_type="process", version="2027.3.1-rc_1", message="", tags={}),
        replace(PUSH, template="a" * 32, version="V" * 64, message="é" * 4096),
    ],
)
def test_a_good_header_passes(push: Push) -> None:
    check_push(push)


@pytest.mark.parametrize(
    ("push", "field"),
    [
        (replace(PUSH, template=""), "header.template"),
        (replace(PUSH, template="Docker"), "header.template"),
        (replace(PUSH, template="a--b"), "header.template"),
        (replace(PUSH, template="a" * 33), "header.template"),
        (replace(PUSH, template="a\n"), "header.template"),
        (replace(PUSH, version="-1"), "header.version"),
        (replace(PUSH, version="v1\n"), "header.version"),
        (replace(PUSH, version="v" * 65), "header.version"),
        (replace(PUSH, provisioner_type=""), "header.provisioner_type"),
        (replace(PUSH, provisioner_type="docker"), "header.provisioner_type"),
        (replace(PUSH, message="a" * 4097), "header.message"),
        (replace(PUSH, message="a\0"), "header.message"),
        (replace(PUSH, tags={"": "x"}), "header.provisioner_tags"),
        (replace(PUSH, tags={"a": "\0"}), "header.provisioner_tags"),
        (replace(PUSH, tags={"a": "x" * 257}), "header.provisioner_tags"),
        (replace(PUSH, tags={str(n): "" for n in range(33)}), "header.provisioner_tags"),
    ],
)
def test_a_wrong_header_is_refused_by_field(push: Push, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_push(push)
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")


def test_the_provisioner_types_are_named_to_whoever_gives_another() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_push(replace(PUSH, provisioner_type="docker"))
    assert caught.value.message == (
        'header.provisioner_type: "docker" is unknown; use one of terraform, process'
    )


def test_a_version_name_passes_unchanged() -> None:
    assert check_version_name("v3", "version") == "v3"


def test_an_upload_is_its_parts_and_their_hash() -> None:
    upload = Upload()
    upload.add(GZIP[:1])
    upload.add(b"")
    upload.add(GZIP[1:] + b"rest")
    assert upload.finish() == Archive(
        content=GZIP + b"rest", sha256=hashlib.sha256(GZIP + b"rest").digest()
    )


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"PK\x03\x04", "is not gzipped")]
)
def test_what_cannot_be_a_gzipped_tar_is_refused(content: bytes, said: str) -> None:
    upload = Upload()
    upload.add(content)
    with pytest.raises(InvalidArgument, match=f"the archive {said}; send a gzipped tar"):
        upload.finish()


def test_a_chunk_may_have_a_mebibyte_and_an_archive_32_of_them() -> None:
    upload = Upload()
    with pytest.raises(InvalidArgument, match=r"1048577 bytes; at most 1048576 are allowed"):
        upload.add(b"x" * (CHUNK_BYTES_MAX + 1))
    chunk = GZIP + b"x" * (CHUNK_BYTES_MAX - 2)
    for _ in range(ARCHIVE_BYTES_MAX // CHUNK_BYTES_MAX):
        upload.add(chunk)
    with pytest.raises(ResourceExhausted, match="more than 33554432 bytes"):
        upload.add(b"x")
    assert len(upload.finish().content) == ARCHIVE_BYTES_MAX
