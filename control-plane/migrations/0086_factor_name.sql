-- What people call their second factors. Beside them, because a name changes and a secret does not.
CREATE TABLE factor_name (
    clinic_id    uuid NOT NULL,
    -- The passkey's or the app's.
    id           uuid NOT NULL,
    person_id    uuid NOT NULL,
    name         bytea NOT NULL,                 -- sealed: people write what they like
    -- Grows with every writing: part of what the name is bound to.
    seal_version bigint NOT NULL,
    -- Grows with every naming: what the next is made against.
    version      bigint NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id)
);
CREATE INDEX factor_name_by_person ON factor_name (clinic_id, person_id, id);
CALL guard_tenant_table('factor_name', 'clinic_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON factor_name TO medmesh_service;
