"""Which preset a request gets, which values are refused, and when a prebuild cannot serve them."""

from __future__ import annotations

from uuid import uuid4

import pytest

from reconciler.core.imports import to_rows
from reconciler.core.templates import ImportedOption, ImportedParameter
from testkit.office import Office, code_of, refused
from warmpool.common.v1 import types_pb2 as common
from warmpool.common.v1.types_pb2 import ParameterValue
from warmpool.control.v1 import workspaces_pb2 as pb

pytestmark = pytest.mark.integration
PARAMETERS = (
    ImportedParameter(
        name="size",
        default_value="small",
        has_default=True,
        mutable=True,
        options=(
            ImportedOption(name="Small", value="small"),
            ImportedOption(name="Large", value="large"),
        ),
    ),
    ImportedParameter(name="zone", default_value="a", has_default=True),
    ImportedParameter(
        name="disk",
        type="number",
        default_value="20",
        has_default=True,
        mutable=True,
        validation_min=10,
        validation_max=100,
        validation_monotonic="increasing",
    ),
    ImportedParameter(
        name="branch",
        default_value="main",
        has_default=True,
        mutable=True,
        validation_regex="^[a-z]+$",
    ),
    ImportedParameter(
        name="rebuild",
        type="bool",
        default_value="false",
        has_default=True,
        mutable=True,
        ephemeral=True,
    ),
)


async def offer(office: Office, **presets: dict[str, str]) -> None:
    """The template asks for `PARAMETERS` and has these presets, the first one without a pool of its
    own name "standard" aside; "standard" has the pool.
    """
    world = office.world
    await world.execute("UPDATE template_versions SET parameters = $1", to_rows(PARAMETERS))
    for name, parameters in presets.items():
        if name != "standard":
            async with world.database.read() as connection:
                await world.add_preset(uuid4(), name, None, connection)
        await world.execute("UPDATE presets SET parameters = $2 WHERE name = $1", name, parameters)


def create(preset: str = "", name: str = "", **values: str) -> pb.CreateWorkspaceRequest:
    return pb.CreateWorkspaceRequest(
        template="dev",
        preset=preset,
        name=name,
        parameters=[ParameterValue(name=key, value=value) for key, value in values.items()],
    )


SERVED: tuple[tuple[dict[str, str], bool], ...] = (
    ({}, True),
    ({"size": "large"}, True),  # it can change
    ({"zone": "a"}, True),  # as it was built
    ({"zone": "b"}, False),  # it never can
    ({"disk": "50"}, True),
    ({"disk": "60"}, True),
    ({"disk": "40"}, False),  # it cannot shrink, so the claim could not be built
    ({"rebuild": "true"}, True),
    ({"branch": "trunk", "size": "large", "disk": "99"}, True),
)


async def test_a_prebuild_serves_what_it_can_become(office: Office) -> None:
    await offer(office, standard={"disk": "50"})
    await office.world.ready_prebuild()
    calls = (await office.calling()).workspaces
    for values, is_served in SERVED:
        answer = await calls.CreateWorkspace(create("standard", **values))
        miss = pb.POOL_MISS_UNSPECIFIED if is_served else pb.POOL_MISS_PARAMETERS
        assert (values, answer.warm, answer.pool_miss) == (values, is_served, miss)
        (build,) = await office.world.fetch(
            "SELECT parameters FROM workspace_builds WHERE id = $1",
            answer.workspace.latest_build.id,
        )
        defaults = {p.name: p.default_value for p in PARAMETERS}
        assert build["parameters"] == defaults | {"disk": "50"} | values
        await office.world.execute(
            "UPDATE jobs SET status = 'canceled', finished_at = now() WHERE status = 'pending'"
        )
        if is_served:
            await office.world.ready_prebuild()


REFUSED: tuple[tuple[str, str, str], ...] = (
    ("size", "huge", 'must be one of "small", "large"'),
    ("disk", "big", "must be a number"),
    ("disk", "9", "must be 10 or more"),
    ("disk", "101", "must be 100 or less"),
    ("branch", "Main2", 'must match "^[a-z]+$"'),
    ("rebuild", "maybe", 'must be "true" or "false"'),
    ("color", "red", "is unknown"),
)


async def test_a_value_that_cannot_be_is_refused_and_nothing_is_claimed(office: Office) -> None:
    await offer(office, standard={"disk": "50"})
    prebuild = await office.world.ready_prebuild()
    calls = (await office.calling()).workspaces
    for name, value, said in REFUSED:
        error = await refused(calls.CreateWorkspace(create("standard", **{name: value})))
        assert (error.code.name, error.reason, error.field) == (
            "INVALID_ARGUMENT",
            "PARAMETER_INVALID",
            f"parameters.{name}",
        )
        assert said in error.message
    assert await office.world.is_in_pool(prebuild)


async def test_a_later_build_may_change_what_can_change(office: Office) -> None:
    await offer(office, standard={"disk": "50"})
    world = office.world
    await world.ready_prebuild()
    calls = (await office.calling()).workspaces
    made = await calls.CreateWorkspace(create("standard", rebuild="true"))

    async def build(**values: str) -> str:
        await world.complete(await world.acquire())
        request = pb.BuildWorkspaceRequest(
            workspace_id=made.workspace.id,
            transition=common.TRANSITION_START,
            parameters=[ParameterValue(name=key, value=value) for key, value in values.items()],
        )
        return await code_of(calls.BuildWorkspace(request))

    assert await build(size="large", disk="60") == "OK"
    (row,) = await world.fetch("SELECT parameters FROM workspace_builds WHERE number = 3")
    assert row["parameters"] == {
        "size": "large",
        "zone": "a",
        "disk": "60",
        "branch": "main",
        "rebuild": "false",  # it was for one build
    }
    assert await build(disk="59") == "INVALID_ARGUMENT"


MEANT: tuple[tuple[dict[str, str], str], ...] = (
    ({}, "bare"),  # a preset without values matches if nothing else does
    ({"branch": "other"}, "bare"),
    ({"size": "large"}, "big"),
    ({"size": "large", "zone": "b"}, "far"),  # the most values win
    ({"size": "large", "zone": "b", "disk": "70"}, "far"),  # of two with as many, the default
    ({"zone": "c"}, "alpha"),  # of two with as many and no default, the first by name
)


async def test_the_preset_that_says_most_is_meant(office: Office) -> None:
    await offer(
        office,
        standard={"size": "nothing like it"},
        bare={},
        big={"size": "large"},
        far={"size": "large", "zone": "b"},
        away={"zone": "b", "disk": "70"},
        beta={"zone": "c"},
        alpha={"zone": "c"},
    )
    await office.world.execute("UPDATE presets SET is_default = name = 'far'")
    calls = (await office.calling()).workspaces
    for values, preset in MEANT:
        answer = await calls.CreateWorkspace(create(**values))
        assert (values, answer.workspace.preset_name) == (values, preset)


NAMES = ("A", "a--b", "-a", "a-", "a_b", "a b", "a.b", "x" * 33, "ä", "a\n", "../etc")


async def test_a_name_that_cannot_be_is_refused(office: Office) -> None:
    calls = (await office.calling()).workspaces
    for name in NAMES:
        error = await refused(calls.CreateWorkspace(create("standard", name=name)))
        assert (error.code.name, error.reason, error.field) == (
            "INVALID_ARGUMENT",
            "NAME_INVALID",
            "name",
        )


async def test_a_request_that_comes_again_gets_its_first_answer(office: Office) -> None:
    await office.world.ready_prebuild()
    calls = (await office.calling()).workspaces
    for request_id, is_warm in (("warm", True), ("cold", False)):
        request = create("standard")
        request.request_id = request_id
        first, again = [await calls.CreateWorkspace(request) for _ in range(2)]
        assert (first.warm, again.warm) == (is_warm, is_warm)
        assert (again.workspace.id, again.pool_miss) == (first.workspace.id, first.pool_miss)
    assert len(await office.world.fetch("SELECT id FROM workspaces")) == 2
