-- Machines of a clinic that ask by themselves: OAuth 2.0 clients, the public keys they prove
-- themselves with, and the tokens they were given.
CREATE TABLE oauth_client (
    clinic_id   uuid NOT NULL REFERENCES clinic (id),
    id          uuid NOT NULL,
    -- The name of a system, of nobody.
    name        text NOT NULL,
    scopes      text[] NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,
    created_by  uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    version     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, created_by) REFERENCES person (clinic_id, id),
    -- Named by a stranger before any clinic is known.
    CONSTRAINT oauth_client_id_key UNIQUE (id),
    CONSTRAINT oauth_client_bounded CHECK (
        length(name) BETWEEN 1 AND 120 AND cardinality(scopes) BETWEEN 1 AND 32)
);
CALL guard_tenant_table('oauth_client', 'clinic_id');
GRANT SELECT, INSERT ON oauth_client TO medmesh_service;
GRANT UPDATE (name, scopes, enabled, version) ON oauth_client TO medmesh_service;

CREATE TABLE oauth_client_key (
    clinic_id  uuid NOT NULL,
    id         uuid NOT NULL,
    client_id  uuid NOT NULL,
    kid        text NOT NULL,
    -- The public half, as a JSON Web Key.
    jwk        jsonb NOT NULL,
    added_at   timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, client_id) REFERENCES oauth_client (clinic_id, id),
    CONSTRAINT oauth_client_key_kid_key UNIQUE (clinic_id, client_id, kid),
    CONSTRAINT oauth_client_key_bounded CHECK (length(kid) BETWEEN 1 AND 64)
);
CALL guard_tenant_table('oauth_client_key', 'clinic_id');
-- A key is never changed: another is added, and this one goes.
GRANT SELECT, INSERT, DELETE ON oauth_client_key TO medmesh_service;

CREATE TABLE oauth_token (
    clinic_id    uuid NOT NULL,
    id           uuid NOT NULL,
    client_id    uuid NOT NULL,
    key_id       uuid NOT NULL,
    -- The token itself is only with the machine.
    token_sha256 bytea NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, client_id) REFERENCES oauth_client (clinic_id, id),
    -- What was obtained with a key goes with it: whoever stole the key keeps nothing.
    FOREIGN KEY (clinic_id, key_id) REFERENCES oauth_client_key (clinic_id, id) ON DELETE CASCADE,
    CONSTRAINT oauth_token_key UNIQUE (token_sha256),
    CONSTRAINT oauth_token_length CHECK (octet_length(token_sha256) = 32)
);
CREATE INDEX oauth_token_by_client ON oauth_token (clinic_id, client_id, expires_at);
CREATE INDEX oauth_token_by_key ON oauth_token (clinic_id, key_id);
CREATE INDEX oauth_token_expiry ON oauth_token (expires_at);
CALL guard_tenant_table('oauth_token', 'clinic_id');
GRANT SELECT, INSERT, DELETE ON oauth_token TO medmesh_service;

-- What the gate functions see across clinics: ids and times, no keys and no names.
CREATE POLICY gate_read ON oauth_client FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, id, scopes, enabled) ON oauth_client TO medmesh_gate;
CREATE POLICY gate_read ON oauth_token FOR SELECT TO medmesh_gate USING (true);
CREATE POLICY gate_purge ON oauth_token FOR DELETE TO medmesh_gate USING (true);
GRANT SELECT, DELETE ON oauth_token TO medmesh_gate;

-- Whose machine it is, before any clinic is known.
CREATE FUNCTION oauth_client_lookup(wanted uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT c.clinic_id FROM oauth_client c WHERE c.id = wanted
$$;

-- The live token of a machine that is still let in: what it was given for and the machine still has.
CREATE FUNCTION oauth_token_lookup(wanted_sha256 bytea, at timestamptz)
    RETURNS TABLE (clinic_id uuid, client_id uuid, token_id uuid, scopes text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.clinic_id, t.client_id, t.id,
        ARRAY(SELECT unnest(t.scopes) INTERSECT SELECT unnest(c.scopes))
    FROM oauth_token t JOIN oauth_client c ON c.clinic_id = t.clinic_id AND c.id = t.client_id
    WHERE t.token_sha256 = wanted_sha256 AND t.expires_at > at AND c.enabled
$$;

CREATE FUNCTION oauth_token_purge(at timestamptz, bite integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM oauth_token t
        USING (SELECT o.clinic_id, o.id FROM oauth_token o WHERE o.expires_at <= at LIMIT bite) old
        WHERE t.clinic_id = old.clinic_id AND t.id = old.id RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION oauth_client_lookup(uuid), oauth_token_lookup(bytea, timestamptz),
    oauth_token_purge(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oauth_client_lookup(uuid), oauth_token_lookup(bytea, timestamptz),
    oauth_token_purge(timestamptz, integer) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION oauth_client_lookup(uuid) OWNER TO medmesh_gate;
ALTER FUNCTION oauth_token_lookup(bytea, timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION oauth_token_purge(timestamptz, integer) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
