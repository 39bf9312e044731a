"""Who is fixed from the first migration on."""

from __future__ import annotations

from typing import Final
from uuid import UUID

__all__ = ["DEFAULT_ORGANIZATION_ID", "DEFAULT_ORGANIZATION_NAME", "SYSTEM_USER_ID"]

SYSTEM_USER_ID: Final = UUID("00000000-0000-4000-8000-0000000000ff")
"""Owns prebuilds. Has no roles, no token, and is hidden unless asked for."""

DEFAULT_ORGANIZATION_ID: Final = UUID("00000000-0000-4000-8000-000000000001")
DEFAULT_ORGANIZATION_NAME: Final = "default"
