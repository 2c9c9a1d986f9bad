-- What patients asked of their record as a whole: that it rests, that it goes.
CREATE TABLE record_rights (
    clinic_id            uuid NOT NULL REFERENCES clinic (id),
    patient_id           uuid NOT NULL,
    -- Since when only the patient, those they meet, and emergencies reach it.
    restricted_at        timestamptz,
    erasure_requested_at timestamptz,
    -- The law keeps it until then; the patient's key is destroyed after.
    retained_until       timestamptz,
    erased_at            timestamptz,
    version              bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, patient_id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id),
    -- What is to be erased rests until then.
    CONSTRAINT record_rights_erasure_sound CHECK (
        (erasure_requested_at IS NULL AND retained_until IS NULL AND erased_at IS NULL)
        OR (erasure_requested_at IS NOT NULL AND retained_until IS NOT NULL AND restricted_at IS NOT NULL))
);
CALL guard_tenant_table('record_rights', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON record_rights TO medmesh_service;

-- What is left of an erased person has no name; appointments stay countable.
ALTER TABLE person ADD COLUMN erased_at timestamptz;

-- How long a record is kept after the last appointment. Longer than HIPAA asks of documents (six years,
-- 45 CFR 164.316(b)(2)); states ask up to ten for adults' records.
ALTER TABLE clinic ADD COLUMN record_retention_years smallint NOT NULL DEFAULT 10;
ALTER TABLE clinic ADD CONSTRAINT clinic_retention_sound CHECK (record_retention_years BETWEEN 0 AND 100);

-- A login that is nobody's any more: no password opens it, and its address is free again.
GRANT UPDATE (active, email_index) ON account TO medmesh_gate;
CREATE FUNCTION account_erase(of_account uuid) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (
        UPDATE account a SET active = false, password_phc = '!',
            email_index = sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
        WHERE a.id = of_account
            AND NOT EXISTS (SELECT FROM person p WHERE p.account_id = a.id AND p.active)
        RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
-- Before the function changes hands: afterwards it is no longer the owner's to give.
REVOKE ALL ON FUNCTION account_erase(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_erase(uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION account_erase(uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
