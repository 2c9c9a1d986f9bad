-- How people stand to a patient's record, and what the patient said about it: the facts a
-- decision is made from.

-- Which protected part of the record it belongs to; the visit goes with its appointment.
ALTER TABLE appointment ADD COLUMN segment text NOT NULL DEFAULT 'general';
ALTER TABLE appointment ADD CONSTRAINT appointment_segment_known
    CHECK (segment IN ('general', 'part2', 'mental_health', 'reproductive_health', 'hiv'));

CREATE TABLE care_team (
    clinic_id  uuid NOT NULL REFERENCES clinic (id),
    id         uuid NOT NULL,
    patient_id uuid NOT NULL,
    person_id  uuid NOT NULL,
    role       text NOT NULL,
    from_at    timestamptz NOT NULL,
    until_at   timestamptz,
    added_by   uuid NOT NULL,
    ended_by   uuid,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, added_by) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, ended_by) REFERENCES person (clinic_id, id),
    CONSTRAINT care_team_role_known CHECK (role IN ('clinician', 'nurse', 'care_coordinator')),
    CONSTRAINT care_team_two_people CHECK (patient_id <> person_id),
    CONSTRAINT care_team_forward CHECK (until_at IS NULL OR from_at <= until_at),
    CONSTRAINT care_team_once EXCLUDE USING gist (
        clinic_id WITH =, patient_id WITH =, person_id WITH =, tstzrange(from_at, until_at) WITH &&)
);
CREATE INDEX care_team_by_person ON care_team (clinic_id, person_id, patient_id);
CALL guard_tenant_table('care_team', 'clinic_id');
GRANT SELECT, INSERT ON care_team TO medmesh_service;
GRANT UPDATE (until_at, ended_by, version) ON care_team TO medmesh_service;

CREATE TABLE referral (
    clinic_id  uuid NOT NULL REFERENCES clinic (id),
    id         uuid NOT NULL,
    patient_id uuid NOT NULL,
    from_id    uuid NOT NULL,
    to_id      uuid NOT NULL,
    reason     bytea,                            -- sealed
    created_at timestamptz NOT NULL,
    until_at   timestamptz NOT NULL,
    ended_by   uuid,
    version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, from_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, to_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, ended_by) REFERENCES person (clinic_id, id),
    CONSTRAINT referral_other_people CHECK (to_id <> patient_id AND to_id <> from_id),
    CONSTRAINT referral_forward CHECK (created_at <= until_at)
);
CREATE INDEX referral_by_patient ON referral (clinic_id, patient_id, id);
CREATE INDEX referral_by_receiver ON referral (clinic_id, to_id, patient_id);
CALL guard_tenant_table('referral', 'clinic_id');
GRANT SELECT, INSERT ON referral TO medmesh_service;
GRANT UPDATE (until_at, ended_by, version) ON referral TO medmesh_service;

-- Every version stays: what was agreed to when something was read must be provable later.
CREATE TABLE consent (
    clinic_id      uuid NOT NULL REFERENCES clinic (id),
    id             uuid NOT NULL,
    patient_id     uuid NOT NULL,
    purpose        text NOT NULL,
    segment        text NOT NULL,
    version        bigint NOT NULL,
    decision       text NOT NULL,
    -- Which text was agreed to, and how that is shown: a signed-in click, paper, a witness.
    document       text NOT NULL,
    signed_by      text NOT NULL,
    -- Of the signed paper or record, where there is one.
    proof_sha256   bytea,
    recorded_by    uuid NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, recorded_by) REFERENCES person (clinic_id, id),
    CONSTRAINT consent_version_key UNIQUE (clinic_id, patient_id, purpose, segment, version),
    CONSTRAINT consent_purpose_known CHECK (purpose IN ('treatment', 'payment', 'operations')),
    CONSTRAINT consent_segment_known
        CHECK (segment IN ('general', 'part2', 'mental_health', 'reproductive_health', 'hiv')),
    CONSTRAINT consent_decision_known CHECK (decision IN ('granted', 'withdrawn')),
    CONSTRAINT consent_signed_by_known CHECK (signed_by IN ('session', 'paper', 'witness')),
    CONSTRAINT consent_proof_length CHECK (octet_length(proof_sha256) = 32)
);
CALL guard_tenant_table('consent', 'clinic_id');
GRANT SELECT, INSERT ON consent TO medmesh_service;

CREATE TABLE break_glass (
    clinic_id   uuid NOT NULL REFERENCES clinic (id),
    id          uuid NOT NULL,
    patient_id  uuid NOT NULL,
    person_id   uuid NOT NULL,
    reason      bytea NOT NULL,                  -- sealed
    opened_at   timestamptz NOT NULL,
    until_at    timestamptz NOT NULL,
    finding     text,
    reviewed_by uuid,
    reviewed_at timestamptz,
    version     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, reviewed_by) REFERENCES person (clinic_id, id),
    CONSTRAINT break_glass_forward CHECK (opened_at < until_at),
    CONSTRAINT break_glass_review_sound CHECK (
        (finding IS NULL AND reviewed_by IS NULL AND reviewed_at IS NULL)
        OR (finding IN ('justified', 'unjustified') AND reviewed_by IS NOT NULL AND reviewed_at IS NOT NULL))
);
CREATE INDEX break_glass_by_patient ON break_glass (clinic_id, patient_id, id);
CREATE INDEX break_glass_by_person ON break_glass (clinic_id, person_id, until_at);
CALL guard_tenant_table('break_glass', 'clinic_id');
GRANT SELECT, INSERT ON break_glass TO medmesh_service;
GRANT UPDATE (finding, reviewed_by, reviewed_at, version) ON break_glass TO medmesh_service;

-- Whom a clinic tells about broken glass.
CREATE TABLE privacy_officer (
    clinic_id uuid PRIMARY KEY REFERENCES clinic (id),
    person_id uuid NOT NULL,
    named_at  timestamptz NOT NULL,
    named_by  uuid NOT NULL,
    version   bigint NOT NULL DEFAULT 1,
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, named_by) REFERENCES person (clinic_id, id)
);
CALL guard_tenant_table('privacy_officer', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON privacy_officer TO medmesh_service;

-- What a leaf says beyond the act: the broken glass it was done under; what was asked for and
-- what was missing, where it was denied.
ALTER TABLE audit ADD COLUMN break_glass_id uuid;
ALTER TABLE audit ADD COLUMN denied_action text;
ALTER TABLE audit ADD COLUMN denied_reason text;
ALTER TABLE audit ADD CONSTRAINT audit_denial_sound CHECK (
    (action = 'denied') = (denied_action IS NOT NULL) AND (denied_action IS NULL) = (denied_reason IS NULL));
