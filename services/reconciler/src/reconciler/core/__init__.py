"""Decisions: pure, synchronous, without IO, clock or dice."""
