-- name: load_presets
-- Every preset that keeps a pool and could need work: of active versions, or with members left.
-- $1 the pool's user, $2 only these presets or null, $3 only of templates of this name or null
SELECT p.id, p.name, p.instances, p.ttl_seconds, p.timezone, p.schedules::text AS schedules, p.health, p.resumed_at, p.stop_reason,
       p.members_made,
       v.id AS version_id, v.name AS version_name, t.id AS template_id, t.name AS template_name, t.organization_id,
       o.name AS organization_name, t.deleted_at IS NOT NULL AS template_deleted,
       coalesce(t.active_version_id = v.id, false) AS is_active,
       EXISTS (SELECT FROM pool_pauses x WHERE x.template_id = t.id AND x.preset_name IN ('', p.name)) AS is_paused
FROM presets p
JOIN template_versions v ON v.id = p.template_version_id
JOIN templates t ON t.id = v.template_id
JOIN organizations o ON o.id = t.organization_id
WHERE p.instances IS NOT NULL AND ($2::uuid[] IS NULL OR p.id = ANY ($2)) AND ($3::text IS NULL OR t.name = $3)
  AND ((t.active_version_id = v.id AND t.deleted_at IS NULL)
       OR EXISTS (SELECT FROM workspaces w WHERE w.preset_id = p.id AND w.owner_id = $1 AND w.deleted_at IS NULL AND w.born_in_pool))
ORDER BY o.name COLLATE "C", t.name COLLATE "C", p.name COLLATE "C", v.created_at;

-- name: load_totals
-- How many members each preset has, how many of them are started, and against how many nothing can be said: started, of the preset's
-- version, ready, connected; and when the oldest of all and the newest of these were created.
-- $1 the pool's user, $2 agents seen after this are connected
SELECT m.preset_id, count(*) AS total, min(m.created_at) AS oldest_created_at, count(*) FILTER (WHERE m.is_started) AS started,
       count(*) FILTER (WHERE m.is_plain) AS plain, max(m.created_at) FILTER (WHERE m.is_plain) AS newest_plain_at
FROM (
    SELECT w.preset_id, w.created_at, w.latest_transition = 'start' AND w.latest_job_status = 'succeeded' AS is_started,
           a.is_ready AND w.latest_transition = 'start' AND w.latest_job_status = 'succeeded' AND w.invalidated_at IS NULL
           AND w.latest_template_version_id = p.template_version_id AS is_plain
    FROM workspaces w
    LEFT JOIN presets p ON p.id = w.preset_id
    LEFT JOIN (
        SELECT g.workspace_id, bool_and(g.lifecycle = 'ready' AND g.last_seen_at IS NOT NULL AND g.last_seen_at > $2
                                        AND (g.disconnected_at IS NULL OR g.disconnected_at < g.last_seen_at)) AS is_ready
        FROM agents g JOIN workspaces m ON m.id = g.workspace_id
        WHERE g.deleted_at IS NULL AND m.owner_id = $1 AND m.born_in_pool AND m.deleted_at IS NULL
        GROUP BY g.workspace_id
    ) a ON a.workspace_id = w.id
    WHERE w.owner_id = $1 AND w.born_in_pool AND w.deleted_at IS NULL
) m
GROUP BY m.preset_id;

-- name: load_members
-- The prebuilds of some presets, with their latest builds and what their agents say. Of ready ones that are alike (of one preset and
-- version, and the same may be said against them) only the oldest, as many as a plan may name, and one more, which stands for the others:
-- `alike` is how many these are, itself included, and `newest_at` when the newest of them was created.
-- $1 the pool's user, $2 agents seen after this are connected, $3 presets, null for all; those without a preset are always included,
-- $4 for each of these how many ready ones to read of those that may stay, null for all, $5 how many of those that may not, $6 now,
-- $7 for each preset whose started members are all ready and alike how many these are, $8 when the newest of them was created: then
-- neither they nor their agents are looked through
WITH wanted AS (
    SELECT * FROM unnest($3::uuid[], $4::integer[], $7::bigint[], $8::timestamptz[]) AS asked(preset_id, reads, ready, newest_at)
), found AS (
    SELECT w.id, w.preset_id, w.latest_template_version_id, w.created_at, wanted.reads,
           CASE WHEN w.latest_transition <> 'start' OR w.latest_job_status <> 'succeeded' OR a.is_ready IS NOT TRUE THEN NULL
                WHEN w.invalidated_at IS NOT NULL THEN 1
                WHEN w.latest_template_version_id <> p.template_version_id THEN 2
                WHEN p.ttl_seconds > 0 AND $6::timestamptz - w.created_at > make_interval(secs => p.ttl_seconds) THEN 3
                ELSE 0 END AS said
    FROM workspaces w
    LEFT JOIN presets p ON p.id = w.preset_id
    LEFT JOIN wanted ON wanted.preset_id = w.preset_id
    LEFT JOIN LATERAL (
        SELECT bool_and(lifecycle = 'ready' AND last_seen_at IS NOT NULL AND last_seen_at > $2
                        AND (disconnected_at IS NULL OR disconnected_at < last_seen_at)) AS is_ready
        FROM agents WHERE workspace_id = w.id AND deleted_at IS NULL
    ) a ON true
    WHERE w.owner_id = $1 AND w.born_in_pool AND w.deleted_at IS NULL
      AND ($3::uuid[] IS NULL OR w.preset_id = ANY ($3) OR w.preset_id IS NULL)
      AND (wanted.ready IS NULL OR w.latest_transition <> 'start' OR w.latest_job_status <> 'succeeded')
), ranked AS (
    SELECT id, said IS NOT NULL AS is_ready, CASE WHEN said = 0 THEN reads WHEN said IS NOT NULL AND reads IS NOT NULL THEN $5 END AS reads,
           row_number() OVER (kind ORDER BY created_at, id) AS place, count(*) OVER kind AS members, max(created_at) OVER kind AS newest_at
    FROM found WINDOW kind AS (PARTITION BY preset_id, latest_template_version_id, said)
    UNION ALL
    SELECT o.id, true, wanted.reads, row_number() OVER (PARTITION BY wanted.preset_id ORDER BY o.created_at, o.id), wanted.ready,
           wanted.newest_at
    FROM wanted CROSS JOIN LATERAL (
        SELECT id, created_at FROM workspaces
        WHERE owner_id = $1 AND preset_id = wanted.preset_id AND born_in_pool AND deleted_at IS NULL
          AND latest_transition = 'start' AND latest_job_status = 'succeeded'
        ORDER BY created_at, id LIMIT wanted.reads + 1
    ) o
    WHERE wanted.ready IS NOT NULL
)
SELECT w.id, w.preset_id, w.latest_template_version_id, w.created_at, w.invalidated_at, w.latest_transition, w.latest_job_status,
       w.latest_build_number, w.latest_build_finished_at, m.is_ready, a.ready_at, a.unready_since,
       coalesce(d.failures, 0) AS delete_failures, d.failed_at AS delete_failed_at,
       w.latest_job_status = 'pending' AND EXISTS (SELECT FROM jobs WHERE id = w.latest_job_id AND attempt > 0) AS was_picked_up,
       CASE WHEN m.place > m.reads THEN m.members - m.reads END AS alike, m.newest_at
FROM ranked m
JOIN workspaces w ON w.id = m.id
LEFT JOIN LATERAL (
    SELECT CASE WHEN bool_and(first_ready_at IS NOT NULL) THEN max(first_ready_at) END AS ready_at,
           min(least(CASE WHEN lifecycle <> 'ready' THEN greatest(lifecycle_changed_at, first_ready_at) END,
                     CASE WHEN disconnected_at >= last_seen_at THEN disconnected_at WHEN last_seen_at <= $2 THEN last_seen_at END)) AS unready_since
    FROM agents WHERE workspace_id = w.id AND deleted_at IS NULL
) a ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS failures, max(j.finished_at) AS failed_at
    FROM workspace_builds b JOIN jobs j ON j.id = b.job_id
    WHERE w.latest_transition = 'delete' AND b.workspace_id = w.id AND b.transition = 'delete' AND j.status IN ('failed', 'canceled')
) d ON true
WHERE m.reads IS NULL OR m.place <= m.reads + 1
ORDER BY w.preset_id, w.created_at, w.id;

-- name: load_circumstances
-- What holds for all pools at once: whether they are paused, since when gateways have reported without a gap (null if they do not), and
-- which organizations the pool's user belongs to.
-- $1 the pool's user, $2 reports after this are up to now
SELECT coalesce((SELECT value = 'true'::jsonb FROM settings WHERE name = 'reconciliation_paused'), false) AS is_paused,
       (SELECT (value #>> '{}')::timestamptz FROM settings WHERE name = 'gateways_heard_since' AND updated_at > $2) AS hearing_since,
       ARRAY(SELECT organization_id FROM organization_members WHERE user_id = $1) AS organization_ids;

-- name: load_histories
-- How creations of active pools ended, if any went wrong: the first build failed, the member was deleted as never ready, or the pool has
-- stopped. A job no worker took says nothing about the pool, and one whose worker was lost neither: a machine that dies stops no healthy
-- pool. But one that was acquired three times or more and lost them all is likely what ends workers. A pool whose failures are neither
-- recent nor newer than a member that was made well since is in no trouble. Looks at a pool's newest two thousand.
-- $1 failures since then are recent
WITH failures AS (
    SELECT w.preset_id, j.finished_at AS at
    FROM templates t
    JOIN jobs j ON j.template_version_id = t.active_version_id AND j.is_system AND j.status = 'failed'
         AND j.error_reason <> 'NO_PROVISIONER' AND (j.error_reason <> 'WORKER_LOST' OR j.attempt >= 3)
    JOIN workspace_builds b ON b.job_id = j.id AND b.number = 1
    JOIN workspaces w ON w.id = b.workspace_id AND w.born_in_pool
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT w.preset_id, n.created_at
    FROM workspace_builds n
    JOIN workspaces w ON w.id = n.workspace_id AND w.born_in_pool
    WHERE n.reason = 'never_ready'
), troubled AS (
    SELECT f.preset_id
    FROM (SELECT preset_id, max(at) AS at FROM failures GROUP BY preset_id) f
    WHERE f.at > $1 OR NOT EXISTS (
        SELECT FROM workspaces w
        JOIN workspace_builds b ON b.workspace_id = w.id AND b.number = 1
        JOIN jobs j ON j.id = b.job_id AND j.status = 'succeeded'
        WHERE w.preset_id = f.preset_id AND w.born_in_pool AND w.created_at > f.at
    )
    UNION
    SELECT id FROM presets WHERE health = 'hard_limited'
), ends AS (
    SELECT p.id AS preset_id, w.created_at, coalesce(d.created_at, j.finished_at) AS ended_at, j.status = 'failed' OR d.created_at IS NOT NULL AS failed
    FROM troubled
    JOIN presets p ON p.id = troubled.preset_id AND p.instances IS NOT NULL
    JOIN templates t ON t.active_version_id = p.template_version_id AND t.deleted_at IS NULL
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM workspaces WHERE preset_id = p.id AND born_in_pool ORDER BY created_at DESC LIMIT 2000
    ) w
    JOIN workspace_builds b ON b.workspace_id = w.id AND b.number = 1
    JOIN jobs j ON j.id = b.job_id AND j.status IN ('failed', 'succeeded')
         AND j.error_reason <> 'NO_PROVISIONER' AND (j.error_reason <> 'WORKER_LOST' OR j.attempt >= 3)
    LEFT JOIN LATERAL (
        SELECT min(n.created_at) AS created_at FROM workspace_builds n WHERE n.workspace_id = w.id AND n.reason = 'never_ready'
    ) d ON true
), successes AS (
    SELECT preset_id, max(ended_at) AS last_at, max(created_at) AS last_created_at FROM ends WHERE NOT failed GROUP BY preset_id
)
SELECT e.preset_id,
       count(*) FILTER (WHERE failed AND ended_at > $1) AS recent_failures,
       count(*) FILTER (WHERE failed AND (s.last_at IS NULL OR ended_at > s.last_at)) AS consecutive_failures,
       max(ended_at) FILTER (WHERE failed) AS last_failed_at,
       max(created_at) FILTER (WHERE failed) AS last_failed_created_at,
       max(s.last_created_at) AS last_succeeded_created_at
FROM ends e LEFT JOIN successes s USING (preset_id)
GROUP BY e.preset_id;

-- name: load_losses
-- Members of active pools that were ready and were lost soon after, and when a pool last proved that its members live: one was ready for
-- long, or served a claim to the end. Looks at a pool's newest thousand, and only at pools that lost somebody lately.
-- $1 losses since then count, $2 a member ready for so long was made well
WITH lost AS (
    SELECT n.workspace_id, min(n.created_at) AS lost_at FROM workspace_builds n WHERE n.reason = 'lost' AND n.created_at > $1 GROUP BY 1
), lossy AS (
    SELECT DISTINCT p.id
    FROM lost
    JOIN workspaces w ON w.id = lost.workspace_id AND w.born_in_pool
    JOIN presets p ON p.id = w.preset_id AND p.instances IS NOT NULL
    JOIN templates t ON t.active_version_id = p.template_version_id AND t.deleted_at IS NULL
), fates AS (
    SELECT lossy.id AS preset_id, w.created_at, lost.lost_at, c.applied_at,
           CASE WHEN a.proven_at <= a.gone_at THEN a.proven_at END AS proven_at,
           lost.lost_at IS NOT NULL AND (a.proven_at <= a.gone_at) IS NOT TRUE AS is_loss
    FROM lossy
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM workspaces WHERE preset_id = lossy.id AND born_in_pool ORDER BY created_at DESC LIMIT 1000
    ) w
    LEFT JOIN lost ON lost.workspace_id = w.id
    LEFT JOIN claims c ON c.workspace_id = w.id
    LEFT JOIN LATERAL (
        SELECT CASE WHEN bool_and(first_ready_at IS NOT NULL) THEN max(first_ready_at) + $2::interval END AS proven_at,
               min(least(last_seen_at, disconnected_at, CASE WHEN lifecycle <> 'ready' THEN lifecycle_changed_at END)) AS gone_at
        FROM agents WHERE workspace_id = w.id
    ) a ON true
)
SELECT preset_id, max(greatest(applied_at, proven_at)) AS proven_at,
       array_agg(created_at ORDER BY lost_at, created_at) FILTER (WHERE is_loss) AS created_ats,
       array_agg(lost_at ORDER BY lost_at, created_at) FILTER (WHERE is_loss) AS lost_ats
FROM fates GROUP BY preset_id HAVING bool_or(is_loss);

-- name: join_organizations
-- Makes a user a member without roles, where it is not one.
-- $1 organizations, $2 the pool's user, $3 now
INSERT INTO organization_members (organization_id, user_id, created_at)
SELECT id, $2, $3 FROM organizations WHERE id = ANY ($1::uuid[])
ON CONFLICT DO NOTHING;

-- name: last_errors
-- Why the newest failed first build of each pool failed, if nothing has gone well since.
-- $1 presets
SELECT DISTINCT ON (w.preset_id) w.preset_id, j.error
FROM workspaces w
JOIN workspace_builds b ON b.workspace_id = w.id AND b.number = 1
JOIN jobs j ON j.id = b.job_id AND j.finished_at IS NOT NULL
WHERE w.preset_id = ANY ($1::uuid[]) AND w.born_in_pool
ORDER BY w.preset_id, j.finished_at DESC;

-- name: set_paused
-- Pauses or resumes reconciliation everywhere.
-- $1 paused, $2 now
INSERT INTO settings (name, value, updated_at) VALUES ('reconciliation_paused', to_jsonb($1::boolean), $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at WHERE settings.value <> excluded.value;

-- name: list_pauses
-- Who paused which pools; an empty preset name is all of the template.
-- $1 templates
SELECT x.template_id, x.preset_name, u.username, x.paused_at FROM pool_pauses x JOIN users u ON u.id = x.paused_by
WHERE x.template_id = ANY ($1::uuid[]);

-- name: pause_presets
-- Pauses pools by name.
-- $1 template, $2 preset name or empty for all, $3 who, $4 now
INSERT INTO pool_pauses (template_id, preset_name, paused_by, paused_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: resume_presets
-- Lifts a pause by name; resuming the whole template lifts each. Resuming one pool of a template that is paused as a whole leaves the
-- others paused by their names.
-- $1 template, $2 preset name or empty for all
WITH lifted AS (
    DELETE FROM pool_pauses WHERE template_id = $1 AND ($2 = '' OR preset_name IN ('', $2))
    RETURNING preset_name, paused_by, paused_at
), kept AS (
    INSERT INTO pool_pauses (template_id, preset_name, paused_by, paused_at)
    SELECT $1, p.name, lifted.paused_by, lifted.paused_at
    FROM lifted
    JOIN templates t ON t.id = $1
    JOIN presets p ON p.template_version_id = t.active_version_id AND p.instances IS NOT NULL AND p.name <> $2
    WHERE lifted.preset_name = '' AND $2 <> ''
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM lifted;

-- name: find_template_id
-- Finds a template by its name.
-- $1 template name, $2 organizations the caller may see or null for all
SELECT id, organization_id, active_version_id FROM templates
WHERE name = $1 AND deleted_at IS NULL AND ($2::uuid[] IS NULL OR organization_id = ANY ($2))
ORDER BY created_at LIMIT 1;

-- name: find_pool_preset
-- Finds the presets of a template's active version, or one by name.
-- $1 template, $2 preset name or empty for all
SELECT p.id, p.name FROM presets p JOIN templates t ON t.active_version_id = p.template_version_id
WHERE t.id = $1 AND ($2 = '' OR p.name = $2) AND p.instances IS NOT NULL;

-- name: invalidate_members
-- Marks present members of pools for replacement.
-- $1 presets, $2 the pool's user, $3 now
UPDATE workspaces SET invalidated_at = $3
WHERE preset_id = ANY ($1::uuid[]) AND owner_id = $2 AND deleted_at IS NULL AND invalidated_at IS NULL AND latest_transition = 'start';

-- name: resume_pool
-- Lets a stopped pool try one build; if that goes well, the pool is healthy again.
-- $1 preset, $2 now
UPDATE presets SET resumed_at = $2 WHERE id = $1 AND health = 'hard_limited' RETURNING id;

-- name: mark_health
-- Notes that a pool stopped or works again; no row if it was known, or if validation has refused the pool meanwhile, which only a new
-- version ends. An earlier resume says nothing about a new stop.
-- $1 preset, $2 health, $3 why it stopped
UPDATE presets SET health = $2, stop_reason = $3, resumed_at = CASE WHEN $2 = 'hard_limited' THEN NULL ELSE resumed_at END
WHERE id = $1 AND health <> $2 AND health <> 'validation_failed' RETURNING id;

-- name: check_creatable
-- Holds a preset while a prebuild of it is made, one maker at a time; no row if its version is no longer active or its pool has stopped.
-- $1 preset
SELECT p.id, p.parameters, p.members_made, v.id AS version_id, v.parameters AS version_parameters, t.id AS template_id, t.organization_id
FROM presets p
JOIN template_versions v ON v.id = p.template_version_id
JOIN templates t ON t.id = v.template_id AND t.active_version_id = v.id
WHERE p.id = $1 AND t.deleted_at IS NULL
  AND (p.health = 'healthy' OR (p.health = 'hard_limited' AND p.resumed_at IS NOT NULL))
  AND NOT EXISTS (SELECT FROM pool_pauses x WHERE x.template_id = t.id AND x.preset_name IN ('', p.name))
FOR SHARE OF t FOR NO KEY UPDATE OF p;

-- name: count_member_made
-- Notes that one more member of a preset was made.
-- $1 preset
UPDATE presets SET members_made = members_made + 1 WHERE id = $1;

-- name: cancel_creations
-- Cancels first builds of the pool that no worker ever picked up and removes their workspaces with them, all in one statement. One that
-- was handed back may have made something already, so it is not forgotten here.
-- $1 workspaces, $2 the pool's user, $3 now
WITH waiting AS (
    SELECT j.id AS job_id, w.id AS workspace_id
    FROM workspaces w
    JOIN jobs j ON j.id = w.latest_job_id
    WHERE w.id = ANY ($1::uuid[]) AND w.owner_id = $2 AND w.latest_build_number = 1 AND w.latest_transition = 'start'
      AND j.status = 'pending' AND j.attempt = 0 AND w.deleted_at IS NULL
    FOR UPDATE OF j, w SKIP LOCKED
), cancelled AS (
    UPDATE jobs SET status = 'canceled', finished_at = $3, cancel_requested_at = $3, error = 'the pool no longer needs it'
    FROM waiting WHERE jobs.id = waiting.job_id
), ended AS (
    UPDATE workspace_builds SET finished_at = $3 FROM waiting WHERE workspace_builds.job_id = waiting.job_id
)
UPDATE workspaces SET deleted_at = $3, latest_job_status = 'canceled', latest_build_finished_at = $3
FROM waiting WHERE workspaces.id = waiting.workspace_id
RETURNING workspaces.id;

-- name: count_claimed
-- How many prebuilds of each template and preset name were made, failed and claimed so far, and how many claims replaced a resource.
WITH made AS (
    SELECT preset_id, count(*) AS created FROM workspaces WHERE born_in_pool GROUP BY preset_id
), broken AS (
    SELECT w.preset_id, count(*) AS failed
    FROM jobs j
    JOIN workspace_builds b ON b.job_id = j.id AND b.number = 1
    JOIN workspaces w ON w.id = b.workspace_id AND w.born_in_pool
    WHERE j.is_system AND j.status = 'failed'
    GROUP BY w.preset_id
), moved AS (
    SELECT preset_id, count(*) AS claimed, count(*) FILTER (WHERE has_replacements) AS replaced FROM claims GROUP BY preset_id
)
SELECT t.name AS template_name, p.name AS preset_name, o.name AS organization_name, sum(made.created)::bigint AS created,
       coalesce(sum(broken.failed), 0)::bigint AS failed, coalesce(sum(moved.claimed), 0)::bigint AS claimed,
       coalesce(sum(moved.replaced), 0)::bigint AS resource_replacements
FROM made
JOIN presets p ON p.id = made.preset_id
JOIN template_versions v ON v.id = p.template_version_id
JOIN templates t ON t.id = v.template_id
JOIN organizations o ON o.id = t.organization_id
LEFT JOIN broken ON broken.preset_id = made.preset_id
LEFT JOIN moved ON moved.preset_id = made.preset_id
GROUP BY t.name, p.name, o.name;
