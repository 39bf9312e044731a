"""Runs provisioner jobs: Terraform with its own provider, or plain processes."""
