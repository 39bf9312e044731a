-- How many members each pool ever made, so that one who creates by a picture can see whether another did since. Code of the release before
-- does not count its own; what the two then make too much of, the next pass deletes.
ALTER TABLE presets ADD COLUMN members_made bigint NOT NULL DEFAULT 0;
