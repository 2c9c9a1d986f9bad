-- Appointments, the claims on people's time behind them, and the visits they lead to.

CREATE TABLE appointment (
    clinic_id     uuid NOT NULL REFERENCES clinic (id),
    id            uuid NOT NULL,
    patient_id    uuid NOT NULL,
    clinician_id  uuid NOT NULL,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    status        text NOT NULL,
    reason        bytea,                         -- PHI, sealed
    cancel_reason bytea,                         -- PHI, sealed
    -- Grows whenever the sealed columns are written, all of them together.
    seal_version  bigint NOT NULL DEFAULT 1,
    version       bigint NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    FOREIGN KEY (clinic_id, clinician_id) REFERENCES person (clinic_id, id),
    CONSTRAINT appointment_status_known CHECK (status IN ('booked', 'cancelled', 'completed')),
    CONSTRAINT appointment_two_people CHECK (patient_id <> clinician_id),
    CONSTRAINT appointment_forward CHECK (starts_at < ends_at)
);
CREATE INDEX appointment_by_start ON appointment (clinic_id, starts_at, id);
CREATE INDEX appointment_by_patient ON appointment (clinic_id, patient_id, starts_at, id);
CREATE INDEX appointment_by_clinician ON appointment (clinic_id, clinician_id, starts_at, id);
CALL guard_tenant_table('appointment', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON appointment TO medmesh_service;

-- Nobody is in two places at once. One row per person of an appointment; every
-- path that takes somebody's time goes through this table, so one constraint
-- keeps the promise whatever the code above it does. Not partitioned: PostgreSQL
-- has no exclusion constraints across partitions.
CREATE TABLE slot_claim (
    clinic_id      uuid NOT NULL,
    appointment_id uuid NOT NULL,
    person_id      uuid NOT NULL,
    during         tstzrange NOT NULL,
    PRIMARY KEY (clinic_id, appointment_id, person_id),
    FOREIGN KEY (clinic_id, appointment_id) REFERENCES appointment (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT slot_claim_bounded CHECK (NOT isempty(during) AND NOT lower_inf(during) AND NOT upper_inf(during)),
    CONSTRAINT slot_claim_no_overlap
        EXCLUDE USING gist (clinic_id WITH =, person_id WITH =, during WITH &&)
);
CALL guard_tenant_table('slot_claim', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON slot_claim TO medmesh_service;

CREATE TABLE visit (
    clinic_id        uuid NOT NULL,
    id               uuid NOT NULL,
    appointment_id   uuid NOT NULL,
    -- What the media plane knows; random, so that it says nothing about the visit.
    room_id          uuid NOT NULL,
    state            text NOT NULL,
    opened_at        timestamptz,
    ended_at         timestamptz,
    version          bigint NOT NULL DEFAULT 1,
    -- The last message's place; taken under the row's lock, so numbers have no gaps.
    message_sequence bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, appointment_id) REFERENCES appointment (clinic_id, id),
    CONSTRAINT visit_appointment_key UNIQUE (clinic_id, appointment_id),
    CONSTRAINT visit_room_key UNIQUE (room_id),
    CONSTRAINT visit_state_sound CHECK (
        (state IN ('scheduled', 'waiting') AND opened_at IS NULL AND ended_at IS NULL)
        OR (state = 'open' AND opened_at IS NOT NULL AND ended_at IS NULL)
        OR (state = 'ended' AND ended_at IS NOT NULL))
);
CALL guard_tenant_table('visit', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON visit TO medmesh_service;

CREATE TABLE visit_participant (
    clinic_id        uuid NOT NULL,
    visit_id         uuid NOT NULL,
    participant_id   uuid NOT NULL,
    person_id        uuid NOT NULL,
    role             text NOT NULL,
    state            text NOT NULL,
    position         smallint NOT NULL,
    state_changed_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, visit_id, participant_id),
    FOREIGN KEY (clinic_id, visit_id) REFERENCES visit (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT visit_participant_key UNIQUE (participant_id),
    CONSTRAINT visit_participant_person_key UNIQUE (clinic_id, visit_id, person_id),
    CONSTRAINT visit_participant_role_known CHECK (role IN ('patient', 'clinician', 'guest')),
    CONSTRAINT visit_participant_state_known
        CHECK (state IN ('expected', 'waiting', 'admitted', 'in_call', 'left'))
);
CREATE INDEX visit_participant_by_person ON visit_participant (clinic_id, person_id, visit_id);
CALL guard_tenant_table('visit_participant', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON visit_participant TO medmesh_service;

CREATE TABLE message (
    clinic_id      uuid NOT NULL,
    id             uuid NOT NULL,
    visit_id       uuid NOT NULL,
    sequence       bigint NOT NULL,
    participant_id uuid NOT NULL,
    body           bytea NOT NULL,               -- PHI, sealed
    sent_at        timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, visit_id, participant_id)
        REFERENCES visit_participant (clinic_id, visit_id, participant_id),
    CONSTRAINT message_sequence_key UNIQUE (clinic_id, visit_id, sequence)
);
CALL guard_tenant_table('message', 'clinic_id');
GRANT SELECT, INSERT ON message TO medmesh_service;

-- The media plane speaks of rooms; this finds the clinic behind one.
CREATE POLICY gate_read ON visit FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, id, room_id) ON visit TO medmesh_gate;
CREATE FUNCTION room_locate(wanted_room uuid) RETURNS TABLE (clinic_id uuid, visit_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT v.clinic_id, v.id FROM visit v WHERE v.room_id = wanted_room
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION room_locate(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION room_locate(uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION room_locate(uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
