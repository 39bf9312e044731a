"""The warmpool command."""
