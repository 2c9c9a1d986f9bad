-- What of a patient's record was given to somebody outside the clinic (45 CFR 164.528). Noted once
-- and never changed: a mistake is corrected by another row.
CREATE TABLE disclosure (
    clinic_id    uuid NOT NULL REFERENCES clinic (id),
    id           uuid NOT NULL,
    patient_id   uuid NOT NULL,
    disclosed_at timestamptz NOT NULL,
    basis        text NOT NULL,
    -- Sealed: to whom, their address, what was given, why.
    content      bytea NOT NULL,
    recorded_by  uuid NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, recorded_by) REFERENCES person (clinic_id, id),
    CONSTRAINT disclosure_basis_known CHECK (basis IN ('required_by_law', 'public_health', 'abuse', 'oversight',
        'judicial', 'law_enforcement', 'decedent', 'donation', 'research', 'threat', 'government',
        'workers_compensation', 'breach')),
    CONSTRAINT disclosure_forward CHECK (disclosed_at <= recorded_at)
);
CREATE INDEX disclosure_by_patient ON disclosure (clinic_id, patient_id, disclosed_at, id);
CALL guard_tenant_table('disclosure', 'clinic_id');
GRANT SELECT, INSERT ON disclosure TO medmesh_service;
