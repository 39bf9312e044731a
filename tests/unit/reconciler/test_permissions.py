"""Who may do what: the whole table, and that no method is outside of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

import warmpool
from reconciler.core.identity import SYSTEM_USER_ID
from reconciler.core.permissions import (
    ORGANIZATION_ROLES,
    PERMISSIONS,
    SERVICE_KINDS,
    SITE_ROLES,
    Principal,
    ServicePrincipal,
    UserPrincipal,
    may,
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
SELF = {"self.read": ALL, "system.read": ALL}
READ = {"template.read": ALL, "pool.read": ALL}
TEMPLATES = READ | {"template.update": ALL, "template.delete": ALL, "pool.update": ALL}
WORKSPACES = ("workspace.create", "workspace.read", "workspace.update", "workspace.delete")
ORGANIZATION_MEMBER = (
    SELF | {"template.read": HERE, "pool.read": HERE} | dict.fromkeys(WORKSPACES, "m")
)

TRUTH: Mapping[str, Mapping[str, str]] = {
    "owner": SELF | TEMPLATES | dict.fromkeys(WORKSPACES, ALL),
    "template-admin": SELF
    | TEMPLATES
    | {"workspace.read": "mpMP", "workspace.update": "pP", "workspace.delete": "pP"},
    "auditor": SELF | READ | {"workspace.read": ALL},
    "member": SELF,
    "stranger": SELF,
    "organization-admin": SELF | dict.fromkeys(TEMPLATES, HERE) | dict.fromkeys(WORKSPACES, HERE),
    "organization-member": ORGANIZATION_MEMBER,
    "implied organization-member": ORGANIZATION_MEMBER,
    "unknown roles": ORGANIZATION_MEMBER,
    "provisioner": {"provisioner.job": ALL},
    "provisioner at home": {"provisioner.job": HERE},
    "gateway": {"gateway.agent": ALL},
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
    assert found == set(TRUTH[name])


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
    assert set(declared.values()) == PERMISSIONS
    assert len(methods) >= 30  # the walk did find them


def test_each_service_serves_callers_of_one_sort() -> None:
    """People's permissions are asked for by `control`, each service's by its own package."""
    packages = {
        (method.full_name.split(".")[1], permission_of(method.full_name) in SERVICE_KINDS.values())
        for method in every_method()
    }
    assert packages == {
        ("agent", False),
        ("control", False),
        ("gateway", True),
        ("provisioner", True),
    }
