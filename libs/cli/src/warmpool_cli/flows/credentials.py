"""Finds a token or key by its id or its name."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from warmpool.control.v1.people_pb2 import Key, ListKeysRequest, ListTokensRequest, Token
from warmpool_cli.client import CALL_TIMEOUT_SECONDS, Client
from warmpool_cli.errors import NotFound, UsageInvalid

__all__ = ["find_key_id", "find_token_id"]


async def find_token_id(client: Client, named: str, user: str) -> str:
    """The id of a token of a user, else the caller, that is not revoked. Raises NotFound, or
    UsageInvalid if several have the name.
    """
    if _is_id(named):
        return named
    answer = await client.people.ListTokens(
        ListTokensRequest(username=user), timeout=CALL_TIMEOUT_SECONDS
    )
    return _the_one("token", named, answer.tokens, "see `warmpool token list`")


async def find_key_id(client: Client, named: str) -> str:
    """The id of a key that is not revoked. Raises as `find_token_id` does."""
    if _is_id(named):
        return named
    answer = await client.people.ListKeys(ListKeysRequest(), timeout=CALL_TIMEOUT_SECONDS)
    return _the_one("key", named, answer.keys, "see `warmpool key list`")


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _the_one(kind: str, name: str, found: Sequence[Token] | Sequence[Key], fix: str) -> str:
    ids = [each.id for each in found if each.name == name and not each.HasField("revoked_at")]
    if not ids:
        raise NotFound(f"there is no {kind} named {name!r} that is not revoked", fix)
    if len(ids) > 1:
        raise UsageInvalid(
            f"{len(ids)} {kind}s are named {name!r}", f"give an id: {', '.join(ids)}"
        )
    return ids[0]
