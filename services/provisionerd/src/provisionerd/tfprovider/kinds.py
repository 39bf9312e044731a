"""What the provider offers: resources, which a build changes, and data sources, which it reads.

Promises: every function here is pure. Ids and tokens are made by `Dice`, which only an apply gets,
so nothing random can happen twice for one creation. No resource ever asks to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from provisionerd.tfprovider.context import ProviderContext
from provisionerd.tfprovider.schema import Block, Object, Problem

__all__ = ["DataSource", "Dice", "Refused", "Resource", "refuse"]


class Dice(Protocol):
    """Makes what must be new; given to applies only."""

    def new_id(self) -> str:
        """A UUID as text."""
        ...

    def new_token(self) -> str:
        """A secret an agent authenticates with."""
        ...


class Refused(Exception):
    """A call cannot be answered; `problems` go to the person who runs Terraform."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.summary for problem in problems))
        self.problems = problems


def refuse(summary: str, detail: str = "", *path: str | int) -> Refused:
    """One problem, ready to be raised."""
    return Refused(Problem(summary=summary, detail=detail, path=path))


def _no_problems(config: Object) -> Iterable[Problem]:
    del config
    return ()


def _as_planned(context: ProviderContext, prior: Object | None, planned: Object) -> Object:
    del context, prior
    return planned


def _as_stored(context: ProviderContext, stored: Object) -> Object:
    del context
    return stored


def _no_values(context: ProviderContext, prior: Object | None, dice: Dice) -> Object:
    del context, prior, dice
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of managed resource.

    `check` looks at what one attribute alone cannot tell; `shape` adds to a plan what is already
    known; `make` gives values for what is still unknown at an apply (`id` is made for all of them);
    `refresh` brings the stored values up to date.
    """

    name: str
    schema: Block
    check: Callable[[Object], Iterable[Problem]] = _no_problems
    shape: Callable[[ProviderContext, Object | None, Object], Object] = _as_planned
    make: Callable[[ProviderContext, Object, Dice], Object] = _no_values
    refresh: Callable[[ProviderContext, Object], Object] = _as_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """A kind of data source. `read` gets the configuration with defaults filled in, and returns the
    values to put over it; it may raise `Refused`.
    """

    name: str
    schema: Block
    read: Callable[[ProviderContext, Object], Object]
    check: Callable[[Object], Iterable[Problem]] = _no_problems
