"""The `terraform` provisioner."""
