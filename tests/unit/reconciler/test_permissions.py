"""Who may do what: the whole table, and that no method is outside of it."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

import warmpool
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.permissions import (
    ANY_SERVICE,
    ORGANIZATION_ROLES,
    PERMISSIONS,
    SERVICE_KINDS,
    SITE_ROLES,
    Principal,
    ServicePrincipal,
    UserPrincipal,
    is_deletion_allowed,
    may,
    may_delete,
    may_end_builds,
    may_somewhere,
    organizations_where,
)
from svckit.auth import permission_of

HOME, ABROAD = UUID(int=1), UUID(int=2)
ME, SOMEBODY = UUID(int=11), UUID(int=12)


def a_user(
    *roles: str,
    organization_roles: Mapping[UUID, frozenset[str]] | None = None,
    user_id: UUID = ME,
) -> UserPrincipal:
    return UserPrincipal(
        user_id=user_id,
        username="me",
        roles=frozenset(roles),
        organization_roles=organization_roles or {},
    )


def at_home(*roles: str) -> UserPrincipal:
    return a_user(organization_roles={HOME: frozenset(roles)})


PRINCIPALS: Mapping[str, Principal] = {
    "owner": a_user("owner"),
    "template-admin": a_user("template-admin"),
    "auditor": a_user("auditor"),
    "member": a_user("member"),
    "stranger": a_user(),
    "organization-admin": at_home("organization-admin"),
    "organization-member": at_home("organization-member"),
    "implied organization-member": at_home(),
    "unknown roles": a_user("root", organization_roles={HOME: frozenset({"owner", "auditor"})}),
    "provisioner": ServicePrincipal(kind="provisioner", key_id=UUID(int=21)),
    "provisioner at home": ServicePrincipal(
        kind="provisioner", key_id=UUID(int=22), organization_id=HOME
    ),
    "gateway": ServicePrincipal(kind="gateway", key_id=UUID(int=23)),
    "unknown service": ServicePrincipal(kind="reconciler", key_id=UUID(int=24)),
}

# A thing: its organization and its owner. Lower case letters say of which things one may.
THINGS: Mapping[str, tuple[UUID | None, UUID | None]] = {
    "s": (None, None),  # of the site, nobody's
    "h": (HOME, None),  # of the home organization, nobody's
    "m": (HOME, ME),
    "o": (HOME, SOMEBODY),
    "p": (HOME, SYSTEM_USER_ID),
    "H": (ABROAD, None),
    "M": (ABROAD, ME),
    "O": (ABROAD, SOMEBODY),
    "P": (ABROAD, SYSTEM_USER_ID),
}
ALL, HERE = "shmopHMOP", "hmop"
OWN = "mM"
SELF = {"self.read": ALL, "system.read": ALL} | dict.fromkeys(
    ("token.read", "token.update", "notification.read", "notification.update"), OWN
)
READ = {"template.read": ALL, "pool.read": ALL}
TEMPLATES = READ | {"template.update": ALL, "template.delete": ALL, "pool.update": ALL}
WORKSPACES = ("workspace.create", "workspace.read", "workspace.update", "workspace.delete")
PREBUILDS = ("prebuilt_workspace.update", "prebuilt_workspace.delete")
PEOPLE_READ = (
    "user.read",
    "token.read",
    "organization.read",
    "key.read",
    "audit.read",
    "notification.read",
)
PEOPLE_CHANGE = (
    "user.update",
    "token.update",
    "organization.create",
    "organization.update",
    "key.update",
    "notification.update",
)
ORGANIZATION_MEMBER = (
    SELF
    | dict.fromkeys(("template.read", "pool.read", "organization.read"), HERE)
    | dict.fromkeys(WORKSPACES, "m")
)
ORGANIZATION_ADMIN = (
    *TEMPLATES,
    *WORKSPACES,
    *PREBUILDS,
    "organization.read",
    "organization.update",
    "key.read",
    "key.update",
)

TRUTH: Mapping[str, Mapping[str, str]] = {
    "owner": SELF
    | TEMPLATES
    | dict.fromkeys((*WORKSPACES, *PREBUILDS, *PEOPLE_READ, *PEOPLE_CHANGE), ALL),
    "template-admin": SELF
    | TEMPLATES
    | {"workspace.read": "mpMP", "organization.read": ALL}
    | dict.fromkeys(PREBUILDS, ALL),
    "auditor": SELF | READ | dict.fromkeys(("workspace.read", *PEOPLE_READ), ALL),
    "member": SELF,
    "stranger": SELF,
    "organization-admin": SELF | dict.fromkeys(ORGANIZATION_ADMIN, HERE),
    "organization-member": ORGANIZATION_MEMBER,
    "implied organization-member": ORGANIZATION_MEMBER,
    "unknown roles": ORGANIZATION_MEMBER,
    "provisioner": {"provisioner.job": ALL, "instance.report": ALL},
    "provisioner at home": {"provisioner.job": HERE, "instance.report": HERE},
    "gateway": {"gateway.agent": ALL, "instance.report": ALL},
    "unknown service": {},
}


@pytest.mark.parametrize("name", PRINCIPALS)
def test_the_whole_table(name: str) -> None:
    principal = PRINCIPALS[name]
    found = {
        permission: "".join(
            letter
            for letter, (organization_id, owner_id) in THINGS.items()
            if may(principal, permission, organization_id=organization_id, owner_id=owner_id)
        )
        for permission in (*sorted(PERMISSIONS), "invented", "")
    }
    assert {p: things for p, things in found.items() if things} == TRUTH[name]


@pytest.mark.parametrize("name", PRINCIPALS)
def test_the_door_is_open_for_whoever_may_it_for_anything(name: str) -> None:
    principal = PRINCIPALS[name]
    found = {p for p in (*PERMISSIONS, "invented") if may_somewhere(principal, p)}
    # What is about prebuilds too is open to whoever may it for prebuilds alone.
    through = {p.replace("prebuilt_", "") for p in TRUTH[name] if p.startswith("prebuilt_")}
    assert found == {*TRUTH[name], *through}


READS, CHANGES, DELETES, CHANGES_PREBUILDS, DELETES_PREBUILDS = (
    "workspace.read",
    "workspace.update",
    "workspace.delete",
    *PREBUILDS,
)
DELETION: Mapping[tuple[str, ...], str] = {
    # What somebody holds: what they may delete, a "w"orkspace of a person or a "p"rebuild.
    (READS, CHANGES, DELETES): "wp",
    (READS, CHANGES, DELETES_PREBUILDS): "p",
    (READS, CHANGES_PREBUILDS, DELETES): "p",
    (READS, CHANGES_PREBUILDS, DELETES_PREBUILDS): "p",
    (READS, CHANGES, DELETES, CHANGES_PREBUILDS): "wp",
    (READS, CHANGES, DELETES, DELETES_PREBUILDS): "wp",
    (READS, CHANGES, CHANGES_PREBUILDS, DELETES_PREBUILDS): "p",
    (READS, DELETES, CHANGES_PREBUILDS, DELETES_PREBUILDS): "p",
    (READS, CHANGES, DELETES, CHANGES_PREBUILDS, DELETES_PREBUILDS): "wp",
}
"""All else deletes nothing: without reading, without changing, or without deleting."""


def test_who_may_delete_what_is_a_table_without_gaps() -> None:
    found: dict[frozenset[str], str] = {}
    everything = (READS, CHANGES, DELETES, CHANGES_PREBUILDS, DELETES_PREBUILDS)
    for count in range(len(everything) + 1):
        for held in itertools.combinations(everything, count):
            allowed = "".join(
                letter
                for letter, is_prebuild in (("w", False), ("p", True))
                if is_deletion_allowed(held.__contains__, is_prebuild=is_prebuild)
            )
            if allowed:
                found[frozenset(held)] = allowed
    assert found == {frozenset(held): allowed for held, allowed in DELETION.items()}


@pytest.mark.parametrize(
    ("name", "deletes", "ends_builds"),
    [
        ("owner", "mopMOP", "mopMOP"),
        ("template-admin", "pP", "pP"),
        ("auditor", "", ""),
        ("stranger", "", ""),
        ("organization-admin", "mop", "mop"),
        ("organization-member", "m", "m"),
        ("provisioner", "", ""),
        ("gateway", "", ""),
    ],
)
def test_roles_delete_workspaces_and_prebuilds(name: str, deletes: str, ends_builds: str) -> None:
    principal = PRINCIPALS[name]
    owned = [
        (letter, organization_id, owner_id)
        for letter, (organization_id, owner_id) in THINGS.items()
        if organization_id is not None and owner_id is not None
    ]
    found = tuple(
        "".join(
            letter
            for letter, organization_id, owner_id in owned
            if allowed(principal, organization_id=organization_id, owner_id=owner_id)
        )
        for allowed in (may_delete, may_end_builds)
    )
    assert found == (deletes, ends_builds)


@pytest.mark.parametrize("roles", [(), ("owner",), tuple(SITE_ROLES)])
def test_the_system_user_may_do_nothing(roles: tuple[str, ...]) -> None:
    system = a_user(
        *roles,
        organization_roles={HOME: frozenset(ORGANIZATION_ROLES)},
        user_id=SYSTEM_USER_ID,
    )
    assert not any(
        may(system, permission, organization_id=organization_id, owner_id=owner_id)
        or may_somewhere(system, permission)
        for permission in PERMISSIONS
        for organization_id, owner_id in THINGS.values()
    )


def test_organizations_are_those_where_everybodys_things_are_open() -> None:
    admin_at_home = a_user(
        organization_roles={HOME: frozenset({"organization-admin"}), ABROAD: frozenset()}
    )
    assert organizations_where(admin_at_home, "template.read") == {HOME, ABROAD}
    assert organizations_where(admin_at_home, "workspace.read") == {HOME}
    assert organizations_where(at_home(), "workspace.read") == frozenset()
    assert organizations_where(a_user("auditor"), "workspace.read") is None
    assert organizations_where(a_user("auditor"), "workspace.update") == frozenset()


def every_method() -> list[MethodDescriptor]:
    root = Path(warmpool.__path__[0])
    modules = [
        ".".join(("warmpool", *path.relative_to(root).with_suffix("").parts))
        for path in sorted(root.rglob("*_pb2.py"))
    ]
    files: list[FileDescriptor] = [importlib.import_module(name).DESCRIPTOR for name in modules]
    return [
        method
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    ]


def test_every_method_declares_a_permission_that_is_known_and_used() -> None:
    methods = every_method()
    declared = {method.full_name: permission_of(method.full_name) for method in methods}
    assert {name for name, permission in declared.items() if permission not in PERMISSIONS} == set()
    # A prebuild is asked about inside the methods that are about workspaces.
    assert set(declared.values()) == PERMISSIONS - set(PREBUILDS)
    assert len(methods) >= 30  # the walk did find them


def test_each_service_serves_callers_of_one_sort() -> None:
    """People's permissions are asked for by `control`, each service's by its own package."""
    packages = {
        (
            method.full_name.split(".")[1],
            permission_of(method.full_name) in (*SERVICE_KINDS.values(), ANY_SERVICE),
        )
        for method in every_method()
    }
    assert packages == {
        ("agent", False),
        ("control", False),
        ("gateway", True),
        ("instance", True),
        ("provisioner", True),
    }
