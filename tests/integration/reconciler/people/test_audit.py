"""The audit log: pages that miss and repeat nothing, and deeds done to pools."""

from __future__ import annotations

import pytest

from testkit.office import TRACE, TRACE_ID, Office, code_of, refused
from warmpool.control.v1 import people_pb2 as pb
from warmpool.control.v1 import pools_pb2

pytestmark = pytest.mark.integration


async def test_pages_cover_the_log_newest_first(office: Office) -> None:
    owner = (await office.calling()).people
    for number in range(7):
        await owner.CreateOrganization(pb.CreateOrganizationRequest(name=f"o-{number}"))
        if number % 3 == 0:  # some deeds share a moment
            office.world.clock.advance(1)
    seen: list[str] = []
    sizes: list[int] = []
    token = ""
    while True:
        page = await owner.ListAudit(pb.ListAuditRequest(page_size=3, page_token=token))
        seen += [entry.details_json for entry in page.entries]
        sizes.append(len(page.entries))
        # What happens between two pages is newer than both.
        await owner.CreateOrganization(pb.CreateOrganizationRequest(name=f"between-{len(sizes)}"))
        token = page.next_page_token
        if not token:
            break
    assert sizes == [3, 3, 1]
    assert seen == [f'{{"name": "o-{number}"}}' for number in reversed(range(7))]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListAuditRequest(page_size=-1), "page_size"),
        (pb.ListAuditRequest(page_size=501), "page_size"),
        (pb.ListAuditRequest(page_token="yesterday"), "page_token"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    office: Office, request_: pb.ListAuditRequest, field: str
) -> None:
    error = await refused((await office.calling()).people.ListAudit(request_))
    assert (error.code.name, error.field) == ("INVALID_ARGUMENT", field)


async def test_deeds_done_to_pools_are_kept_with_who_and_why(office: Office) -> None:
    admin = (await office.join("boss", "template-admin")).pools
    await office.world.ready_prebuild()
    pause = pools_pb2.SetPoolPausedRequest(template="dev", preset="standard", paused=True)
    await admin.SetPoolPaused(pause, metadata=TRACE)
    await admin.SetPoolPaused(pause)  # paused already: no deed
    await admin.SetPoolPaused(pools_pb2.SetPoolPausedRequest(template="dev"))
    await admin.InvalidatePool(pools_pb2.InvalidatePoolRequest(template="dev"), metadata=TRACE)
    await admin.SetPoolPaused(pools_pb2.SetPoolPausedRequest(paused=True))
    await office.world.execute("UPDATE presets SET health = 'hard_limited'")
    await admin.ResumePool(pools_pb2.ResumePoolRequest(template="dev", preset="standard"))

    dev = {"template_id": str(office.world.template_id)}
    deeds = await office.audit(
        "pool.pause", "pool.resume_reconciliation", "pool.invalidate", "pool.resume"
    )
    assert [tuple(deed.values())[:-1] for deed in deeds] == [
        ("boss", "pool.pause", ("pool", "dev/standard"), dev),
        ("boss", "pool.resume_reconciliation", ("pool", "dev/*"), dev),
        ("boss", "pool.invalidate", ("pool", "dev/*"), dev),
        ("boss", "pool.pause", ("pool", "*"), {}),
        ("boss", "pool.resume", ("pool", "dev/standard"), dev),
    ]
    # A deed without a caller's trace has the server's own, if the process keeps traces.
    traces = [tuple(deed.values())[-1] for deed in deeds]
    assert [trace == TRACE_ID for trace in traces] == [True, False, True, False, False]


async def test_what_is_refused_is_no_deed(office: Office) -> None:
    grace = await office.join("grace")
    before = await office.world.fetch("SELECT count(*) FROM audit_log")
    pause = pools_pb2.SetPoolPausedRequest(template="dev", paused=True)
    assert await code_of(grace.pools.SetPoolPaused(pause)) == "PERMISSION_DENIED"
    assert await code_of(grace.people.ListAudit(pb.ListAuditRequest())) == "PERMISSION_DENIED"
    assert await office.world.fetch("SELECT count(*) FROM audit_log") == before
