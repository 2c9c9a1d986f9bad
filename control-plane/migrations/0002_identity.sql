-- Who signs in, who they are in a clinic, and the sessions they hold.

-- A login. It belongs to no clinic: one account may be a person in several.
CREATE TABLE account (
    id           uuid PRIMARY KEY,
    -- Keyed digest of the lower-cased address: found by whoever types it, read by nobody.
    -- The address itself is the person's, sealed under their key.
    email_index  bytea NOT NULL,
    password_phc text NOT NULL,                  -- Argon2id PHC string
    active       boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL,
    CONSTRAINT account_email_key UNIQUE (email_index),
    CONSTRAINT account_email_index_length CHECK (octet_length(email_index) = 32)
);

CREATE TABLE person (
    clinic_id    uuid NOT NULL REFERENCES clinic (id),
    id           uuid NOT NULL,
    account_id   uuid NOT NULL REFERENCES account (id),
    display_name bytea NOT NULL,                 -- PHI, sealed
    email        bytea NOT NULL,                 -- PHI, sealed
    -- Grows whenever the sealed columns are written, all of them together: part of what they are bound to.
    seal_version bigint NOT NULL DEFAULT 1,
    locale       text NOT NULL,
    active       boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    CONSTRAINT person_account_key UNIQUE (clinic_id, account_id)
);
CREATE INDEX person_account ON person (account_id);
CALL guard_tenant_table('person', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON person TO medmesh_service;

CREATE TABLE person_role (
    clinic_id  uuid NOT NULL,
    person_id  uuid NOT NULL,
    role       text NOT NULL,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, person_id, role),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT person_role_known CHECK (role IN ('patient', 'clinician', 'admin'))
);
CALL guard_tenant_table('person_role', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON person_role TO medmesh_service;

-- An account shows only through a person of the present clinic, and then only
-- its index: the password hash leaves the table through login_lookup alone.
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
ALTER TABLE account FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON account FOR SELECT
    USING (EXISTS (SELECT FROM person WHERE person.account_id = account.id));
CREATE POLICY gate_read ON account FOR SELECT TO medmesh_gate USING (true);
CREATE POLICY gate_add ON account FOR INSERT TO medmesh_gate WITH CHECK (true);
GRANT SELECT (id, email_index) ON account TO medmesh_service;
GRANT SELECT, INSERT ON account TO medmesh_gate;

CREATE TABLE session (
    clinic_id    uuid NOT NULL,
    id           uuid NOT NULL,
    person_id    uuid NOT NULL,
    account_id   uuid NOT NULL REFERENCES account (id),
    -- The token itself is only in the browser's cookie.
    token_sha256 bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT session_token_key UNIQUE (token_sha256),
    CONSTRAINT session_token_length CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX session_expiry ON session (expires_at);
CALL guard_tenant_table('session', 'clinic_id');
GRANT SELECT, INSERT ON session TO medmesh_service;
GRANT UPDATE (revoked_at) ON session TO medmesh_service;

-- What the gate functions see across clinics: ids and times, no names.
CREATE POLICY gate_read ON person FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, id, account_id, active, created_at) ON person TO medmesh_gate;
CREATE POLICY gate_read ON session FOR SELECT TO medmesh_gate USING (true);
CREATE POLICY gate_touch ON session FOR UPDATE TO medmesh_gate USING (true) WITH CHECK (true);
CREATE POLICY gate_purge ON session FOR DELETE TO medmesh_gate USING (true);
GRANT SELECT, DELETE ON session TO medmesh_gate;
GRANT UPDATE (seen_at) ON session TO medmesh_gate;

-- Sign-in comes before any clinic is known.
CREATE FUNCTION login_lookup(wanted_index bytea)
    RETURNS TABLE (account_id uuid, password_phc text, clinic_id uuid, person_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT a.id, a.password_phc, p.clinic_id, p.id
    FROM account a JOIN person p ON p.account_id = a.id
    WHERE a.email_index = wanted_index AND a.active AND p.active
    ORDER BY p.created_at, p.id
$$;

CREATE FUNCTION account_create(new_id uuid, new_email_index bytea, new_password_phc text, at timestamptz)
    RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO account (id, email_index, password_phc, created_at)
    VALUES (new_id, new_email_index, new_password_phc, at)
$$;

-- Finds a live session and, unless it is only looked at, notes that it was used.
-- Used at most every `touch_every`, so that a busy page does not write on each request.
CREATE FUNCTION session_lookup(
    wanted_sha256 bytea, at timestamptz, idle interval, touch boolean, touch_every interval)
    RETURNS TABLE (clinic_id uuid, session_id uuid, account_id uuid, person_id uuid, expires_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_session session%ROWTYPE;
BEGIN
    SELECT s.* INTO found_session
    FROM session s
        JOIN account a ON a.id = s.account_id
        JOIN person p ON p.clinic_id = s.clinic_id AND p.id = s.person_id
    WHERE s.token_sha256 = wanted_sha256
        AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + idle > at
        AND a.active AND p.active;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF touch AND found_session.seen_at + touch_every <= at THEN
        UPDATE session s SET seen_at = greatest(s.seen_at, at)
        WHERE s.clinic_id = found_session.clinic_id AND s.id = found_session.id;
    END IF;
    RETURN QUERY SELECT found_session.clinic_id, found_session.id, found_session.account_id,
        found_session.person_id, found_session.expires_at;
END
$$;

-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION login_lookup(bytea),
    account_create(uuid, bytea, text, timestamptz),
    session_lookup(bytea, timestamptz, interval, boolean, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION login_lookup(bytea),
    account_create(uuid, bytea, text, timestamptz),
    session_lookup(bytea, timestamptz, interval, boolean, interval) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION login_lookup(bytea) OWNER TO medmesh_gate;
ALTER FUNCTION account_create(uuid, bytea, text, timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION session_lookup(bytea, timestamptz, interval, boolean, interval) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
