"""Claims that agents were told of a moment ago: that they are theirs need not be asked again, once.

Only the newest of each agent is known. When there is no room the oldest entry goes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["CLAIMS_MAX", "ToldClaims"]

CLAIMS_MAX: Final = 20_000  # about 6 MiB


class ToldClaims:
    """Pure. Agents are named by the hash of their token."""

    def __init__(self, *, claims_max: int = CLAIMS_MAX) -> None:
        self._claims_max = claims_max
        self._claims: OrderedDict[bytes, str] = OrderedDict()  # longest known first

    def __len__(self) -> int:
        return len(self._claims)

    def note(self, token_hash: bytes, claim_id: str) -> None:
        """The control plane has said that the claim is the agent's, and built."""
        self._claims.pop(token_hash, None)
        self._claims[token_hash] = claim_id
        if len(self._claims) > self._claims_max:
            self._claims.popitem(last=False)

    def take(self, token_hash: bytes, claim_id: str) -> bool:
        """Whether that was said of this claim; it is forgotten now, so that an agent that repeats
        itself without end waits for its answers.
        """
        if self._claims.get(token_hash) != claim_id:
            return False
        del self._claims[token_hash]
        return True
