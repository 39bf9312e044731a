"""Real ids and tokens, from the system's own source."""

from __future__ import annotations

import secrets
import uuid

__all__ = ["SystemDice"]


class SystemDice:
    """Makes ids and tokens nobody can guess."""

    def new_id(self) -> str:
        """A random UUID as text."""
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))

    def new_token(self) -> str:
        """An agent's token: 256 bits."""
        return f"wp_agent_{secrets.token_urlsafe(32)}"
