"""Work of several calls that more than one command does."""
