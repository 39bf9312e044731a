"""What surrounds every call of a server, one concern per file."""
