-- Links that set a password: to accept an invitation, or because one was forgotten.
CREATE TABLE account_link (
    clinic_id    uuid NOT NULL,
    id           uuid NOT NULL,
    person_id    uuid NOT NULL,
    purpose      text NOT NULL,
    -- The token itself is only in the mail, or with whom the admin handed it to.
    token_sha256 bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT account_link_token_key UNIQUE (token_sha256),
    CONSTRAINT account_link_token_length CHECK (octet_length(token_sha256) = 32),
    CONSTRAINT account_link_purpose_known CHECK (purpose IN ('invitation', 'reset'))
);
CREATE INDEX account_link_by_person ON account_link (clinic_id, person_id);
CALL guard_tenant_table('account_link', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON account_link TO medmesh_service;
GRANT UPDATE (used_at) ON account_link TO medmesh_service;

CREATE POLICY gate_read ON account_link FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT ON account_link TO medmesh_gate;
CREATE POLICY gate_change ON account FOR UPDATE TO medmesh_gate USING (true) WITH CHECK (true);
GRANT UPDATE (password_phc) ON account TO medmesh_gate;
GRANT UPDATE (revoked_at) ON session TO medmesh_gate;

-- Whose link it is, before any clinic is known.
CREATE FUNCTION account_link_lookup(wanted_sha256 bytea, at timestamptz)
    RETURNS TABLE (clinic_id uuid, id uuid, person_id uuid, account_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT l.clinic_id, l.id, l.person_id, a.id
    FROM account_link l
        JOIN person p ON p.clinic_id = l.clinic_id AND p.id = l.person_id
        JOIN account a ON a.id = p.account_id
    WHERE l.token_sha256 = wanted_sha256 AND l.used_at IS NULL AND l.expires_at > at AND a.active AND p.active
$$;

-- A new password ends every session of the account, in whatever clinic, but the one it was set in.
CREATE FUNCTION password_set(of_account uuid, new_password_phc text, at timestamptz, kept_session uuid)
    RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE account SET password_phc = new_password_phc WHERE id = of_account;
    UPDATE session s SET revoked_at = at
    WHERE s.account_id = of_account AND s.revoked_at IS NULL AND s.id IS DISTINCT FROM kept_session;
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION account_link_lookup(bytea, timestamptz),
    password_set(uuid, text, timestamptz, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_link_lookup(bytea, timestamptz),
    password_set(uuid, text, timestamptz, uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION account_link_lookup(bytea, timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION password_set(uuid, text, timestamptz, uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
