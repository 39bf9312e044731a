"""Decisions: what a stream is told, which agents are looked at, who is let in. Pure."""
