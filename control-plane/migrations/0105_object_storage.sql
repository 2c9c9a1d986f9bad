-- Which object storage the cluster uses: the id in the one that the first control node found. A node that finds
-- another id uses a storage of its own, and what it puts there nobody else would see.
CREATE TABLE object_storage (
    -- There is one row: the service may say `id` alone.
    one boolean PRIMARY KEY DEFAULT true,
    id  uuid NOT NULL
);
ALTER TABLE object_storage ENABLE ROW LEVEL SECURITY;
ALTER TABLE object_storage FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON object_storage TO medmesh_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (id) ON object_storage TO medmesh_service;
