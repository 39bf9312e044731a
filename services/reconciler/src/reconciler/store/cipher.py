"""Encrypts what must not lie in the database in clear: the tfstate, which holds passwords, keys and
agents' tokens, and what agents are told to run.

AES-256-GCM with a fresh 96-bit nonce each time. What is sealed begins with a mark, the version of
this format and the first bytes of the SHA-256 of its key, so that several keys can be in use while
one replaces another: the first of them seals, all of them open. The id of what it belongs to (the
workspace's for a tfstate, the agent's for its manifest) is authenticated with it, so one cannot be
passed off as another by whoever can write rows.

What is not promised: a row without the mark was stored before there was a key, and is read as it
is; so who can write rows can replace a tfstate with one in clear, but not read one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from svckit.errors import FailedPrecondition, InvalidArgument

__all__ = ["MARK", "SECRET_LENGTH_MIN", "StateCipher", "cipher_from_text"]

SECRET_LENGTH_MIN: Final = 32
"""Characters a key's text must have: 24 random bytes in Base64, 16 in hexadecimal."""

MARK: Final = b"\0wps\x01"
"""What is sealed begins so; no tfstate and no manifest does: they are JSON."""
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(MARK) + _KEY_ID_BYTES


class StateCipher:
    """Seals and opens. Without any key it stores in clear, and opens only what is in clear."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` are 32 bytes each; the first seals."""
        self._sealer: tuple[bytes, AESGCM] | None = None
        self._openers: dict[bytes, AESGCM] = {}
        for key in keys:
            key_id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES]
            opener = self._openers.setdefault(key_id, AESGCM(key))
            self._sealer = self._sealer or (key_id, opener)

    @property
    def is_plain(self) -> bool:
        """What is sealed is in clear: there is no key."""
        return self._sealer is None

    def seal(self, plain: bytes, owner_id: UUID) -> bytes:
        """What to store for the workspace or agent of that id."""
        if self._sealer is None:
            return plain
        key_id, sealer = self._sealer
        header = MARK + key_id
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + sealer.encrypt(nonce, plain, header + owner_id.bytes)

    def open(self, stored: bytes, owner_id: UUID, what: str = "the tfstate of workspace") -> bytes:
        """What was sealed for this id. Raises FailedPrecondition, reason STATE_KEY_UNKNOWN if its
        key is not among ours, reason STATE_DAMAGED if it was changed or moved.
        """
        if not stored.startswith(MARK):
            return stored
        opener = self._openers.get(stored[len(MARK) : _HEADER_BYTES])
        if opener is None:
            raise FailedPrecondition(
                f"{what} {owner_id} was encrypted with a key that the reconciler's state_key_file"
                " does not hold; add that key as a further line",
                reason="STATE_KEY_UNKNOWN",
            )
        body = stored[_HEADER_BYTES:]
        try:
            return opener.decrypt(
                body[:_NONCE_BYTES],
                body[_NONCE_BYTES:],
                stored[:_HEADER_BYTES] + owner_id.bytes,
            )
        except (InvalidTag, ValueError):
            raise FailedPrecondition(
                f"{what} {owner_id} is damaged in the database, or another's",
                reason="STATE_DAMAGED",
            ) from None

    def count_unreadable(self, headers: Iterable[bytes]) -> int:
        """How many rows, given their first bytes, need a key that is not among ours."""
        return sum(
            header.startswith(MARK) and header[len(MARK) : _HEADER_BYTES] not in self._openers
            for header in headers
        )


def cipher_from_text(text: str) -> StateCipher:
    """A cipher from the text of a key file: one secret a line, the newest first; blank lines and
    lines that begin with # are skipped. Raises InvalidArgument, naming no secret.
    """
    secrets = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not secrets:
        raise InvalidArgument(
            "state_key_file: empty; it needs a line with a random secret", field="state_key_file"
        )
    for number, secret in secrets:
        if len(secret) < SECRET_LENGTH_MIN:
            raise InvalidArgument(
                f"state_key_file: line {number} has {len(secret)} characters; at least"
                f" {SECRET_LENGTH_MIN} random ones are needed",
                field="state_key_file",
            )
    return StateCipher([hashlib.sha256(secret.encode()).digest() for _, secret in secrets])
