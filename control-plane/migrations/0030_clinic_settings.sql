-- Where a clinic lets its visits run. Empty: anywhere, which is what every clinic had before.
ALTER TABLE clinic
    ADD COLUMN media_regions text[] NOT NULL DEFAULT '{}',
    -- Rises with each change of a setting.
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
GRANT UPDATE (media_regions, version) ON clinic TO medmesh_service;
