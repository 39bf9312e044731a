"""Hints between services: an asyncio publish/subscribe bus over NATS, with an in-memory twin."""
