"""Teaches the masker what the growing tfstate holds, before a template's output is logged."""

from __future__ import annotations

import time

from provisionerd.terraform.keeper import TfstateKeeper
from provisionerd.terraform.mask import Masker
from provisionerd.terraform.tfstate import list_secrets

__all__ = ["SecretReader"]

_TRIES_MAX = 50
_PAUSE_SECONDS = 0.002  # terraform writes a tfstate within a few milliseconds


class SecretReader:
    """Called before each text that may hold a secret; says whether all secrets are known now.

    A line may be read at the very moment at which terraform writes its tfstate. So a tfstate that
    is half-written is waited for, a tenth of a second at most and once: it stays so where terraform
    was killed. The wait blocks the loop; the text cannot be let by meanwhile.
    """

    def __init__(self, keeper: TfstateKeeper, masker: Masker) -> None:
        self._keeper = keeper
        self._masker = masker
        self._mark: tuple[int, int] | None = None
        self._is_torn = False

    def __call__(self) -> bool:
        for _ in range(_TRIES_MAX):
            mark = self._keeper.has_changed(self._mark)
            if mark is None:
                return not self._is_torn
            tfstate = self._keeper.read_whole()
            if tfstate is not None:
                self._masker.add(list_secrets(tfstate))
                self._mark, self._is_torn = mark, False
                return True
            time.sleep(_PAUSE_SECONDS)
        self._mark, self._is_torn = self._keeper.has_changed(None), True
        return False
