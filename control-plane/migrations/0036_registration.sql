-- Patients who register themselves, where their clinic lets them.
ALTER TABLE clinic ADD COLUMN self_registration boolean NOT NULL DEFAULT false;
GRANT UPDATE (self_registration) ON clinic TO medmesh_service;

-- Somebody asked to register. Nothing of it can be used before the mailbox is proved, and all of
-- it goes when it was, or after a day.
CREATE TABLE registration (
    clinic_id    uuid NOT NULL REFERENCES clinic (id),
    id           uuid NOT NULL,
    -- Keyed digest of the lower-cased address: asking twice replaces the first.
    email_index  bytea NOT NULL,
    email        bytea NOT NULL,                 -- PHI, sealed
    locale       text NOT NULL,
    -- Of the token in the mail; nothing before that is written.
    token_sha256 bytea,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    CONSTRAINT registration_email_key UNIQUE (clinic_id, email_index),
    CONSTRAINT registration_token_key UNIQUE (token_sha256),
    CONSTRAINT registration_email_index_length CHECK (octet_length(email_index) = 32),
    CONSTRAINT registration_token_length CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX registration_expiry ON registration (expires_at);
CALL guard_tenant_table('registration', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON registration TO medmesh_service;
GRANT UPDATE (token_sha256) ON registration TO medmesh_service;
CREATE POLICY gate_all ON registration TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT (clinic_id, id, token_sha256, expires_at), DELETE ON registration TO medmesh_gate;

-- Whose link it is, before any clinic is known.
CREATE FUNCTION registration_lookup(wanted_sha256 bytea, moment timestamptz)
    RETURNS TABLE (clinic_id uuid, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT r.clinic_id, r.id FROM registration r WHERE r.token_sha256 = wanted_sha256 AND r.expires_at > moment
$$;

CREATE FUNCTION registration_purge(moment timestamptz, bite integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (
        SELECT r.clinic_id, r.id FROM registration r WHERE r.expires_at <= moment ORDER BY r.expires_at LIMIT bite
    ), gone AS (
        DELETE FROM registration r USING old WHERE r.clinic_id = old.clinic_id AND r.id = old.id RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
-- Before the functions change hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION registration_lookup(bytea, timestamptz), registration_purge(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION registration_lookup(bytea, timestamptz), registration_purge(timestamptz, integer)
    TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION registration_lookup(bytea, timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION registration_purge(timestamptz, integer) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
