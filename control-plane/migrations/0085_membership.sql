-- What somebody is to a clinic can be changed, and changes are made against what was seen.
ALTER TABLE person ADD COLUMN version bigint NOT NULL DEFAULT 1;
