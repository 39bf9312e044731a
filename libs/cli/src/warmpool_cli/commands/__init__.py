"""One file per group of commands; each registers itself on an app."""
