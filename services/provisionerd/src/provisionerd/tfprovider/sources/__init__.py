"""The data sources, one file per concern."""
