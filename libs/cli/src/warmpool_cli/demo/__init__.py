"""The demonstration: what it runs, what it shows, what it checks."""
