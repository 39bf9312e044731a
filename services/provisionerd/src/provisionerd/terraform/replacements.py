"""Which resources a claim replaced, and what differed. Pure.

Terraform's stream names a resource to be replaced and one word of reason; the attributes that
forced it stand only in the JSON form of a saved plan, which would cost every claim a second run.
The names given here come from comparing the tfstate before and after instead: those that forced the
replacement are among them, and so may be some the provider chose anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from provisionerd.core.provisioner import Replacement
from provisionerd.terraform.events import PlannedChange
from provisionerd.terraform.tfstate import Instance, Tfstate

__all__ = ["list_replacements"]


def list_replacements(
    planned: Iterable[PlannedChange], before: Tfstate, after: Tfstate
) -> tuple[Replacement, ...]:
    """The replaced resources but `coder_*`, in the order of the plan."""
    old = {instance.address: instance for instance in before.instances}
    new = {instance.address: instance for instance in after.instances}
    return tuple(
        Replacement(
            address=change.address,
            paths=_list_differences(old.get(change.address), new.get(change.address)),
        )
        for change in planned
        if change.action == "replace" and not change.resource_type.startswith("coder_")
    )


def _list_differences(old: Instance | None, new: Instance | None) -> tuple[str, ...]:
    if old is None or new is None:
        return ()
    names = sorted(old.attributes.keys() | new.attributes.keys())
    return tuple(
        name
        for name in names
        if name != "id" and old.attributes.get(name) != new.attributes.get(name)
    )
