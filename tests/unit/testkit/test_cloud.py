"""Where the AWS provider is looked for."""

from __future__ import annotations

from pathlib import Path

from testkit.stubs.cloud import find_provider, list_places


def test_a_place_that_is_laid_out_as_a_mirror_is_one(tmp_path: Path) -> None:
    package = (
        tmp_path / "b" / "registry.terraform.io" / "hashicorp" / "aws" / "5.100.0" / "linux_amd64"
    )
    package.mkdir(parents=True)
    (tmp_path / "a").mkdir()
    places = [tmp_path / "none", tmp_path / "a", tmp_path / "b"]
    assert find_provider(places, tmp_path / "mirror") == tmp_path / "b"
    assert not (tmp_path / "mirror").exists()


def test_a_bare_executable_is_put_into_a_mirror(tmp_path: Path) -> None:
    (tmp_path / "terraform-provider-aws_v5.100.0_x5").write_text("binary")
    mirror = find_provider([tmp_path], tmp_path / "mirror", "linux_arm64")
    assert mirror is not None
    assert {str(file.relative_to(mirror)) for file in mirror.rglob("*") if file.is_file()} == {
        "registry.terraform.io/hashicorp/aws/5.100.0/linux_arm64/terraform-provider-aws_v5.100.0_x5"
    }


def test_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "terraform-provider-aws_v5").write_text("no version")
    (tmp_path / "terraform-provider-awscc_v1.0.0_x5").write_text("another")
    assert find_provider([tmp_path], tmp_path / "mirror", "linux_arm64") is None


def test_a_directory_that_is_named_comes_first() -> None:
    places = list_places({"HOME": "/home/ada", "AWS_PROVIDER_DIR": "/opt/aws"})
    assert places[:2] == [Path("/opt/aws"), Path("/home/ada/.terraform.d/plugins")]
