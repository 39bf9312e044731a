-- A pool that keeps losing its members stops: every pass asks which were lost lately, and how pools that have stopped fare.

CREATE INDEX presets_that_stopped ON presets (id) WHERE health = 'hard_limited';

-- Why a pool stopped, for whoever looks at it later.
ALTER TABLE presets ADD COLUMN stop_reason text NOT NULL DEFAULT '';
