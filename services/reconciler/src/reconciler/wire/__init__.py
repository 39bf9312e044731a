"""Protobuf and bus events to domain values and back. Pure."""
