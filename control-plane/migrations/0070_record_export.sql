-- Copies of whole records, made for their patients. The copies themselves are objects, sealed under
-- the patient's key.
CREATE TABLE record_export (
    clinic_id      uuid NOT NULL REFERENCES clinic (id),
    id             uuid NOT NULL,
    patient_id     uuid NOT NULL,
    state          text NOT NULL,
    requested_at   timestamptz NOT NULL,
    ready_at       timestamptz,
    expires_at     timestamptz,
    -- Part of the names of its objects: of the making that was finished first.
    object_id      uuid,
    -- Plain bytes of each form, and the detached JWS over them.
    json_bytes     bigint,
    json_signature text,
    fhir_bytes     bigint,
    fhir_signature text,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    CONSTRAINT record_export_state_sound CHECK (
        (state = 'queued' AND ready_at IS NULL AND expires_at IS NULL AND object_id IS NULL AND json_signature IS NULL
            AND fhir_signature IS NULL AND json_bytes IS NULL AND fhir_bytes IS NULL)
        OR (state IN ('ready', 'gone') AND ready_at < expires_at AND object_id IS NOT NULL AND json_signature IS NOT NULL
            AND fhir_signature IS NOT NULL AND json_bytes > 0 AND fhir_bytes > 0))
);
CREATE INDEX record_export_by_patient ON record_export (clinic_id, patient_id, id);
CALL guard_tenant_table('record_export', 'clinic_id');
GRANT SELECT, INSERT ON record_export TO medmesh_service;
GRANT UPDATE (state, ready_at, expires_at, object_id, json_bytes, json_signature, fhir_bytes, fhir_signature)
    ON record_export TO medmesh_service;

-- What patients want corrected (45 CFR 164.526), and what came of it. Nothing of it is ever removed:
-- what was declined, and that the patient disagreed, stays with the record.
CREATE TABLE correction (
    clinic_id     uuid NOT NULL REFERENCES clinic (id),
    id            uuid NOT NULL,
    patient_id    uuid NOT NULL,
    what          bytea NOT NULL,                -- sealed
    why           bytea NOT NULL,                -- sealed
    requested_at  timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    state         text NOT NULL,
    decided_by    uuid,
    decided_at    timestamptz,
    reason        bytea,                         -- sealed
    statement     bytea,                         -- sealed
    disagreed_at  timestamptz,
    -- Rises whenever a sealed column is written: part of what they are bound to.
    seal_version  bigint NOT NULL DEFAULT 1,
    version       bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, decided_by) REFERENCES person (clinic_id, id),
    CONSTRAINT correction_state_sound CHECK (
        (state = 'open' AND decided_by IS NULL AND decided_at IS NULL AND reason IS NULL AND statement IS NULL)
        OR (state = 'accepted' AND decided_by IS NOT NULL AND decided_at IS NOT NULL AND reason IS NULL
            AND statement IS NULL)
        OR (state = 'declined' AND decided_by IS NOT NULL AND decided_at IS NOT NULL AND reason IS NOT NULL)),
    CONSTRAINT correction_disagreement_sound CHECK ((statement IS NULL) = (disagreed_at IS NULL)),
    CONSTRAINT correction_two_people CHECK (decided_by <> patient_id)
);
CREATE INDEX correction_by_patient ON correction (clinic_id, patient_id, id);
-- What waits for an answer comes first.
CREATE INDEX correction_open ON correction (clinic_id, due_at, id) WHERE state = 'open';
CALL guard_tenant_table('correction', 'clinic_id');
GRANT SELECT, INSERT ON correction TO medmesh_service;
GRANT UPDATE (what, why, state, decided_by, decided_at, reason, statement, disagreed_at, seal_version, version)
    ON correction TO medmesh_service;
