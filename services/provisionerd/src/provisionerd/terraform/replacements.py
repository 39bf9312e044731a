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

__all__ = ["compare_plans", "list_replacements", "read_replacements"]


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


def compare_plans(one: bytes, other: bytes) -> tuple[Replacement, ...]:
    """The resources but `coder_*` that two plans of the same template, in JSON, would make
    differently, with the attributes that differ; none if only one would make it.
    """
    ones, others = _read_made(one), _read_made(other)
    found: list[Replacement] = []
    for address in dict.fromkeys((*ones, *others)):
        here, there = ones.get(address), others.get(address)
        if here is None or there is None:
            found.append(Replacement(address=address, paths=()))
        elif here != there:
            names = sorted(here.keys() | there.keys())
            differing = tuple(name for name in names if here.get(name) != there.get(name))
            found.append(Replacement(address=address, paths=differing))
    return tuple(found)


def _read_made(shown: bytes) -> dict[str, dict[str, tuple[object, object]]]:
    """What a plan would make: for each attribute what is known of it, and what is not yet."""
    made: dict[str, dict[str, tuple[object, object]]] = {}
    for resource in mappings(mapping(json.loads(shown)).get("resource_changes")):
        change = mapping(resource.get("change"))
        type_ = text(resource.get("type"))
        if "create" not in sequence(change.get("actions")) or type_.startswith("coder_"):
            continue
        after, unknown = mapping(change.get("after")), mapping(change.get("after_unknown"))
        made[text(resource.get("address"))] = {
            name: (after.get(name), unknown.get(name)) for name in (*after, *unknown)
        }
    return made


def _list_differences(old: Instance | None, new: Instance | None) -> tuple[str, ...]:
    if old is None or new is None:
        return ()
    names = sorted(old.attributes.keys() | new.attributes.keys())
    return tuple(
        name
        for name in names
        if name != "id" and old.attributes.get(name) != new.attributes.get(name)
    )
