"""An installation with many pools, put into a database in a second or so: for benchmarks and for
looking at query plans. Every pool is at rest until it is disturbed.
"""

from __future__ import annotations

from datetime import datetime

from reconciler.core.identity import DEFAULT_ORGANIZATION_ID, SYSTEM_USER_ID
from reconciler.store.db import Database

__all__ = ["MEMBERS_PER_PRESET", "disturb", "install_crowd"]

MEMBERS_PER_PRESET = 5
PRESETS_PER_TEMPLATE = 100

_TEMPLATES = """
WITH made AS (
    SELECT n, gen_random_uuid() AS template, gen_random_uuid() AS version, gen_random_uuid() AS job
    FROM generate_series(1, $1::integer) AS n
), archive AS (
    INSERT INTO archives VALUES (sha256('crowd'::bytea), '', $4) ON CONFLICT DO NOTHING
), template AS (
    INSERT INTO templates (id, organization_id, name, provisioner_type, created_at)
    SELECT template, $2, 'crowd-' || n, 'process', $4 FROM made
), version AS (
    INSERT INTO template_versions (id, template_id, name, job_id, archive_sha256,
                                   promote_on_success, created_by, created_at, imported_at)
    SELECT version, template, 'v1', job, sha256('crowd'::bytea), true, $3, $4, $4 FROM made
)
INSERT INTO jobs (id, organization_id, kind, provisioner_type, template_version_id, initiator_id,
                  is_system, status, created_at, pending_since, finished_at)
SELECT job, $2, 'template_version_import', 'process', version, $3, false, 'succeeded', $4, $4, $4
FROM made"""

_PROMOTE = """
UPDATE templates SET active_version_id = v.id FROM template_versions v
WHERE v.template_id = templates.id
"""

_PRESETS = """
INSERT INTO presets (id, template_version_id, name, instances, ttl_seconds, timezone, schedules)
SELECT gen_random_uuid(), v.id, 'preset-' || n, $2, 86400, 'Europe/Berlin',
       jsonb_build_array(jsonb_build_object(
           'cron', '* ' || (n % 24) || ' * * *', 'instances', $2::integer))
FROM template_versions v, generate_series(1, $1::integer) AS n"""

_MEMBERS = """
WITH made AS (
    SELECT p.id AS preset, p.template_version_id AS version, v.template_id AS template, n,
           gen_random_uuid() AS workspace, gen_random_uuid() AS build, gen_random_uuid() AS job
    FROM presets p JOIN template_versions v ON v.id = p.template_version_id,
         generate_series(1, p.instances) AS n
), workspace AS (
    INSERT INTO workspaces (id, organization_id, owner_id, name, template_id, preset_id,
        born_in_pool, created_at, latest_build_id, latest_build_number, latest_transition,
        latest_job_id, latest_job_status, latest_template_version_id, latest_build_created_at,
        latest_build_finished_at)
    SELECT workspace, $1, $2, 'p-' || left(replace(workspace::text, '-', ''), 24), template,
           preset, true, $3::timestamptz - n * interval '1 minute', build, 1, 'start', job,
           'succeeded', version, $3, $3
    FROM made
), job AS (
    INSERT INTO jobs (id, organization_id, kind, provisioner_type, template_version_id,
                      initiator_id, is_system, status, created_at, pending_since, finished_at)
    SELECT job, $1, 'workspace_build', 'process', version, $2, true, 'succeeded', $3, $3, $3
    FROM made
), build AS (
    INSERT INTO workspace_builds (id, workspace_id, number, transition, stage, job_id,
                                  template_version_id, initiator_id, reason, created_at,
                                  finished_at)
    SELECT build, workspace, 1, 'start', 'create', job, version, $2, 'prebuild', $3, $3 FROM made
)
INSERT INTO agents (id, workspace_id, name, token_hash, lifecycle, first_ready_at, last_seen_at,
                    manifest, created_at)
SELECT gen_random_uuid(), workspace, 'main', sha256(workspace::text::bytea), 'ready', $3, $3,
       '{}', $3
FROM made"""

_DISTURB = """
UPDATE workspaces SET invalidated_at = $2
WHERE id IN (
    SELECT DISTINCT ON (w.preset_id) w.id FROM workspaces w
    WHERE w.preset_id IN (SELECT id FROM presets ORDER BY id LIMIT $1)
    ORDER BY w.preset_id, w.created_at)"""


async def install_crowd(database: Database, presets: int, now: datetime) -> None:
    """Puts that many presets, five ready members each, into a migrated database."""
    templates = max(1, presets // PRESETS_PER_TEMPLATE)
    owner, organization = SYSTEM_USER_ID, DEFAULT_ORGANIZATION_ID
    async with database.read() as connection:
        async with connection.transaction():
            await connection.execute(_TEMPLATES, templates, organization, owner, now)
            await connection.execute(_PROMOTE)
            await connection.execute(_PRESETS, presets // templates, MEMBERS_PER_PRESET)
            await connection.execute(_MEMBERS, organization, owner, now)
        await connection.execute("VACUUM ANALYZE")


async def disturb(database: Database, presets: int, now: datetime) -> None:
    """Has one member of each of so many pools invalidated: one to delete, one to create."""
    async with database.read() as connection:
        await connection.execute(_DISTURB, presets, now)
