"""Messages as tables and words."""
