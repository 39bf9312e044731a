"""The `terraform` provisioner. The public face is here; the modules are this package's own."""

from provisionerd.terraform.keeper import salvage_tfstate
from provisionerd.terraform.provisioner import TerraformProvisioner
from provisionerd.terraform.settings import TerraformMissing, TerraformSettings, find_terraform

__all__ = [
    "TerraformMissing",
    "TerraformProvisioner",
    "TerraformSettings",
    "find_terraform",
    "salvage_tfstate",
]
