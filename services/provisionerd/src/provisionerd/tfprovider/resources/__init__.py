"""The managed resources, one file per concern."""
