-- Licences, NPIs and DEA numbers: stated by a person, verified by an admin. Every one stays, and
-- so does everything that was ever decided about it.
CREATE TABLE credential (
    clinic_id    uuid NOT NULL,
    id           uuid NOT NULL,
    person_id    uuid NOT NULL,
    kind         text NOT NULL,
    -- Of a licence: the role it lets one act in.
    profession   text,
    -- Postal code; NPIs are the nation's.
    state        text,
    number       bytea NOT NULL,                 -- sealed
    -- The last day, in the clinic's zone.
    expires_on   date,
    status       text NOT NULL,
    submitted_at timestamptz NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT credential_kind_known CHECK (kind IN ('license', 'npi', 'dea')),
    CONSTRAINT credential_profession_known CHECK (profession IN ('clinician', 'nurse', 'pharmacist')),
    CONSTRAINT credential_status_known CHECK (status IN ('pending', 'verified', 'rejected', 'withdrawn')),
    CONSTRAINT credential_parts_sound CHECK (
        (kind = 'license') = (profession IS NOT NULL)
        AND (kind = 'npi') = (state IS NULL) AND (kind = 'npi') = (expires_on IS NULL))
);
CREATE INDEX credential_by_person ON credential (clinic_id, person_id, id);
-- What an admin has to look at.
CREATE INDEX credential_pending ON credential (clinic_id, id) WHERE status = 'pending';
CALL guard_tenant_table('credential', 'clinic_id');
GRANT SELECT, INSERT ON credential TO medmesh_service;
-- The number as well: a rotation seals it anew.
GRANT UPDATE (status, version, number) ON credential TO medmesh_service;

CREATE TABLE credential_decision (
    clinic_id     uuid NOT NULL,
    id            uuid NOT NULL,
    credential_id uuid NOT NULL,
    status        text NOT NULL,
    reason        bytea,                         -- sealed
    -- NULL: whoever opened the clinic vouched for it.
    decided_by    uuid,
    decided_at    timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, credential_id) REFERENCES credential (clinic_id, id),
    FOREIGN KEY (clinic_id, decided_by) REFERENCES person (clinic_id, id),
    CONSTRAINT credential_decision_known CHECK (status IN ('verified', 'rejected', 'withdrawn')),
    CONSTRAINT credential_decision_reasoned CHECK ((status = 'rejected') = (reason IS NOT NULL))
);
CREATE INDEX credential_decision_by_credential ON credential_decision (clinic_id, credential_id, id);
CALL guard_tenant_table('credential_decision', 'clinic_id');
GRANT SELECT, INSERT ON credential_decision TO medmesh_service;
-- For a rotation, which seals it anew.
GRANT UPDATE (reason) ON credential_decision TO medmesh_service;

-- What somebody may act upon at an instant: `kind` or `kind profession`, verified and not past its
-- last day where the clinic is. As the caller: row-level security holds in it.
CREATE FUNCTION credentials_held(of_person uuid, moment timestamptz) RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ARRAY(
        SELECT DISTINCT concat_ws(' ', k.kind, k.profession)
        FROM credential k JOIN clinic c ON c.id = k.clinic_id
        WHERE k.person_id = of_person AND k.status = 'verified'
            AND (k.expires_on IS NULL OR k.expires_on >= (moment AT TIME ZONE c.time_zone)::date));
REVOKE ALL ON FUNCTION credentials_held(uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credentials_held(uuid, timestamptz) TO medmesh_service;
