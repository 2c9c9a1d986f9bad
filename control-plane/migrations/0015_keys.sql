-- The keys that sealed columns need, each wrapped by the one above it: the root (in a
-- KMS, never here) wraps the system's and the clinics' keys, a clinic's wraps its patients'.
-- Without the KMS this is noise; and what a patient's key sealed is noise once the row is gone.

CREATE TABLE system_key (
    version    integer PRIMARY KEY,
    -- Which version of the root wrapped it.
    root       text NOT NULL,
    wrapped    bytea NOT NULL,
    -- The key of blind indexes, the same under every version, wrapped by this one.
    index_key  bytea NOT NULL,
    -- Messages sealed under it, as far as reported.
    sealed     bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    CONSTRAINT system_key_version_positive CHECK (version > 0)
);
ALTER TABLE system_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE system_key FORCE ROW LEVEL SECURITY;
CREATE POLICY service ON system_key TO medmesh_service USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON system_key TO medmesh_service;
GRANT UPDATE (root, wrapped, sealed) ON system_key TO medmesh_service;

CREATE TABLE clinic_key (
    clinic_id  uuid NOT NULL REFERENCES clinic (id),
    version    integer NOT NULL,
    root       text NOT NULL,
    wrapped    bytea NOT NULL,
    index_key  bytea NOT NULL,
    sealed     bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, version),
    CONSTRAINT clinic_key_version_positive CHECK (version > 0)
);
CALL guard_tenant_table('clinic_key', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON clinic_key TO medmesh_service;
GRANT UPDATE (root, wrapped, sealed) ON clinic_key TO medmesh_service;

CREATE TABLE patient_key (
    clinic_id          uuid NOT NULL,
    patient_id         uuid NOT NULL,
    version            integer NOT NULL,
    clinic_key_version integer NOT NULL,
    wrapped            bytea NOT NULL,
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, patient_id, version),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    -- A clinic's key cannot go while a patient's key needs it.
    FOREIGN KEY (clinic_id, clinic_key_version) REFERENCES clinic_key (clinic_id, version),
    CONSTRAINT patient_key_version_positive CHECK (version > 0)
);
-- What a rotation of the clinic's key has left to do.
CREATE INDEX patient_key_by_clinic_key ON patient_key (clinic_id, clinic_key_version);
CALL guard_tenant_table('patient_key', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON patient_key TO medmesh_service;
GRANT UPDATE (clinic_key_version, wrapped) ON patient_key TO medmesh_service;
