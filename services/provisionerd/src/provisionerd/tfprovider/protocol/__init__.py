"""The plugin protocol: a small description of the wire, and the code generated from it."""
