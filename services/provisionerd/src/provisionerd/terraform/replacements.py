"""Which resources a claim replaced, and what differed. Pure.

Terraform's stream names a resource to be replaced and one word of reason; the attributes that
forced it stand only in the JSON form of a saved plan, which would cost every claim a second run.
The names given here come from comparing the tfstate before and after instead: those that forced the
replacement are among them, and so may be some the provider chose anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from provisionerd.core.provisioner import Replacement
from provisionerd.terraform.events import PlannedChange
from provisionerd.terraform.jsonvalues import mapping, mappings, sequence, text
from provisionerd.terraform.tfstate import Instance, Tfstate

__all__ = ["list_replacements", "read_replacements"]


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


def read_replacements(shown: bytes) -> tuple[Replacement, ...]:
    """The resources a plan would replace but `coder_*`, from its JSON form, in the plan's order."""
    document = mapping(json.loads(shown))
    found: list[Replacement] = []
    for resource in mappings(document.get("resource_changes")):
        change = mapping(resource.get("change"))
        is_replaced = {"create", "delete"} <= {*sequence(change.get("actions"))}
        if not is_replaced or text(resource.get("type")).startswith("coder_"):
            continue
        steps = (sequence(path) for path in sequence(change.get("replace_paths")))
        paths = dict.fromkeys(text(path[0]) for path in steps if path)
        found.append(Replacement(address=text(resource.get("address")), paths=tuple(paths)))
    return tuple(found)


def _list_differences(old: Instance | None, new: Instance | None) -> tuple[str, ...]:
    if old is None or new is None:
        return ()
    names = sorted(old.attributes.keys() | new.attributes.keys())
    return tuple(
        name
        for name in names
        if name != "id" and old.attributes.get(name) != new.attributes.get(name)
    )
