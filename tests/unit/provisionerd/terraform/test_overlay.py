"""Which templates need `terraform init`, and what a copy leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisionerd.core.errors import TemplateInvalid
from provisionerd.terraform.overlay import copy_template, scan

OURS_ONLY = """
terraform {
  required_providers {
    coder = { source = "coder/coder" }
  }
}
data "coder_workspace" "me" {}
resource "terraform_data" "vm" {}
"""


@pytest.mark.parametrize(
    ("hcl", "needs_init", "has_backend"),
    [
        (OURS_ONLY, False, False),
        (OURS_ONLY + '# module "x" {}\n/* resource "aws_instance" "x" {} */', False, False),
        (OURS_ONLY + 'module "x" {\n  source = "./x"\n}', True, False),
        (OURS_ONLY + 'resource "docker_container" "x" {}', True, False),
        (OURS_ONLY + 'provider "aws" {}', True, False),
        ('terraform { required_providers { x = { source = "acme/x" } } }', True, False),
        (OURS_ONLY + 'terraform {\n  backend "s3" {}\n}', False, True),
        (OURS_ONLY + "terraform {\n  cloud {}\n}", False, True),
    ],
)
def test_a_glance_tells_whether_init_is_needed(
    hcl: str, *, needs_init: bool, has_backend: bool
) -> None:
    assert scan(hcl) == (needs_init, has_backend)


def test_a_copy_has_the_template_without_the_leftovers_of_its_author(tmp_path: Path) -> None:
    template = tmp_path / "template"
    (template / "modules" / "vm").mkdir(parents=True)
    (template / ".terraform").mkdir()
    (template / "main.tf").write_text(OURS_ONLY)
    (template / "modules" / "vm" / "main.tf").write_text("")
    (template / ".terraform.lock.hcl").write_text("")
    (template / "terraform.tfstate").write_text("{}")

    overlay = copy_template(template, tmp_path / "copy")

    names = sorted(
        path.relative_to(tmp_path / "copy").as_posix()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    )
    assert names == [".terraform.lock.hcl", "main.tf", "modules/vm/main.tf"]
    assert not overlay.needs_init
    assert overlay.key == copy_template(template, tmp_path / "again").key


def test_a_backend_of_the_template_is_overridden(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    (template / "main.tf").write_text('terraform {\n  backend "s3" {}\n}\n')
    overlay = copy_template(template, tmp_path / "copy")
    assert overlay.needs_init
    assert 'backend "local"' in (tmp_path / "copy" / "zz_warmpool_backend_override.tf").read_text()
    assert list(template.iterdir()) == [template / "main.tf"]


def test_a_template_without_terraform_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    with pytest.raises(TemplateInvalid, match=r"no \.tf file"):
        copy_template(tmp_path / "template", tmp_path / "copy")
