-- Second factors, and sessions that remember what was proved in them.

-- A session's token changes while it lives. The one before stays good until the new one
-- has been used, and for a moment longer, so that an answer that got lost or requests
-- under way do not sign anybody out.
ALTER TABLE session
    ADD COLUMN previous_sha256  bytea,
    -- When the present token was first used; nothing while only its predecessor was.
    ADD COLUMN confirmed_at     timestamptz,
    ADD COLUMN rotated_at       timestamptz NOT NULL DEFAULT now(),
    -- What unsafe requests repeat. It outlives the token, and opens nothing without it.
    ADD COLUMN csrf             bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    -- What was proved (RFC 8176), and when the last of it.
    ADD COLUMN amr              text[] NOT NULL DEFAULT '{pwd}',
    ADD COLUMN authenticated_at timestamptz NOT NULL DEFAULT now(),
    -- "Firefox on Linux": our words, nothing the client sent.
    ADD COLUMN device_label     text NOT NULL DEFAULT '',
    ADD CONSTRAINT session_amr_known CHECK (amr <@ ARRAY['pwd', 'otp', 'pop', 'rec'] AND cardinality(amr) > 0),
    ADD CONSTRAINT session_previous_length CHECK (octet_length(previous_sha256) = 32);
CREATE UNIQUE INDEX session_previous_key ON session (previous_sha256) WHERE previous_sha256 IS NOT NULL;
CREATE INDEX session_by_person ON session (clinic_id, person_id, id);
CREATE INDEX session_revoked ON session (revoked_at) WHERE revoked_at IS NOT NULL;
GRANT UPDATE (token_sha256, previous_sha256, confirmed_at, rotated_at, amr, authenticated_at, seen_at) ON session TO medmesh_service;

-- An authenticator app. The pending one is being set up; it becomes the one that counts
-- when its first code is right, and takes the place of the one before.
CREATE TABLE totp_factor (
    clinic_id    uuid NOT NULL,
    id           uuid NOT NULL,
    person_id    uuid NOT NULL,
    secret       bytea NOT NULL,                 -- sealed
    -- The thirty seconds of the newest code that was used; none is good twice.
    last_step    bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id)
);
CREATE UNIQUE INDEX totp_factor_confirmed_key ON totp_factor (clinic_id, person_id) WHERE confirmed_at IS NOT NULL;
CREATE UNIQUE INDEX totp_factor_pending_key ON totp_factor (clinic_id, person_id) WHERE confirmed_at IS NULL;
CALL guard_tenant_table('totp_factor', 'clinic_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON totp_factor TO medmesh_service;

CREATE TABLE passkey (
    clinic_id       uuid NOT NULL,
    id              uuid NOT NULL,
    person_id       uuid NOT NULL,
    credential_id   bytea NOT NULL,
    public_key      bytea NOT NULL,              -- COSE_Key
    sign_count      bigint NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up       boolean NOT NULL,
    aaguid          uuid NOT NULL,
    device_label    text NOT NULL,
    created_at      timestamptz NOT NULL,
    used_at         timestamptz,
    PRIMARY KEY (clinic_id, id),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT passkey_credential_key UNIQUE (credential_id),
    CONSTRAINT passkey_credential_length CHECK (octet_length(credential_id) BETWEEN 1 AND 1023)
);
CREATE INDEX passkey_by_person ON passkey (clinic_id, person_id, id);
CALL guard_tenant_table('passkey', 'clinic_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON passkey TO medmesh_service;

CREATE TABLE recovery_code (
    clinic_id   uuid NOT NULL,
    person_id   uuid NOT NULL,
    code_sha256 bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    used_at     timestamptz,
    PRIMARY KEY (clinic_id, person_id, code_sha256),
    FOREIGN KEY (clinic_id, person_id) REFERENCES person (clinic_id, id),
    CONSTRAINT recovery_code_length CHECK (octet_length(code_sha256) = 32)
);
CALL guard_tenant_table('recovery_code', 'clinic_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_code TO medmesh_service;

-- What may be used once in the whole cluster: the challenge behind a passkey, the id of a
-- token. Only the hash is kept, and only as long as the thing itself would be good.
CREATE TABLE used_once (
    sha256     bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL,
    CONSTRAINT used_once_length CHECK (octet_length(sha256) = 32)
);
CREATE INDEX used_once_expiry ON used_once (expires_at);
ALTER TABLE used_once ENABLE ROW LEVEL SECURITY;
ALTER TABLE used_once FORCE ROW LEVEL SECURITY;
CREATE POLICY gate ON used_once TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON used_once TO medmesh_gate;

-- What the gate functions see across clinics of all this: ids.
CREATE POLICY gate_read ON passkey FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, id, person_id, credential_id) ON passkey TO medmesh_gate;
GRANT UPDATE (confirmed_at) ON session TO medmesh_gate;

-- Whose passkey it is, before any clinic is known.
CREATE FUNCTION passkey_lookup(wanted_credential bytea)
    RETURNS TABLE (clinic_id uuid, person_id uuid, account_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.clinic_id, k.person_id, a.id
    FROM passkey k
        JOIN person p ON p.clinic_id = k.clinic_id AND p.id = k.person_id
        JOIN account a ON a.id = p.account_id
    WHERE k.credential_id = wanted_credential AND a.active AND p.active
$$;

-- The password of somebody who is signed in, to prove themselves with again.
CREATE FUNCTION password_lookup(wanted_account uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT a.password_phc FROM account a WHERE a.id = wanted_account AND a.active
$$;

-- Whether this is the first use. A row past its time is as good as none.
CREATE FUNCTION use_once(wanted_sha256 bytea, at timestamptz, until timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM used_once u WHERE u.sha256 = wanted_sha256 AND u.expires_at <= at;
    INSERT INTO used_once (sha256, expires_at) VALUES (wanted_sha256, until) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Which sessions were ended of late, for the streams that hang on them.
CREATE FUNCTION sessions_revoked(since timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT s.id FROM session s WHERE s.revoked_at >= since
$$;

CREATE FUNCTION used_once_purge(at timestamptz, bite integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (
        DELETE FROM used_once u USING (SELECT sha256 FROM used_once WHERE expires_at <= at LIMIT bite) old
        WHERE u.sha256 = old.sha256 RETURNING 1
    )
    SELECT count(*) FROM gone
$$;

-- Finds a live session by its present token, or by the one before it while that is good, and
-- unless it is only looked at notes that it was used. `is_present` says which it was.
SET LOCAL ROLE medmesh_gate;
DROP FUNCTION session_lookup(bytea, timestamptz, interval, boolean, interval);
RESET ROLE;
CREATE FUNCTION session_lookup(
    wanted_sha256 bytea, at timestamptz, idle interval, touch boolean, touch_every interval, overlap interval)
    RETURNS TABLE (clinic_id uuid, session_id uuid, account_id uuid, person_id uuid, is_present boolean)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found_session session%ROWTYPE;
    is_present boolean;
BEGIN
    SELECT s.* INTO found_session
    FROM session s
        JOIN account a ON a.id = s.account_id
        JOIN person p ON p.clinic_id = s.clinic_id AND p.id = s.person_id
    WHERE (s.token_sha256 = wanted_sha256
            OR (s.previous_sha256 = wanted_sha256 AND coalesce(s.confirmed_at + overlap > at, true)))
        AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + idle > at
        AND a.active AND p.active;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    is_present := found_session.token_sha256 = wanted_sha256;
    IF is_present AND found_session.confirmed_at IS NULL THEN
        UPDATE session s SET confirmed_at = at
        WHERE s.clinic_id = found_session.clinic_id AND s.id = found_session.id
            AND s.token_sha256 = wanted_sha256 AND s.confirmed_at IS NULL;
    END IF;
    IF touch AND found_session.seen_at + touch_every <= at THEN
        UPDATE session s SET seen_at = greatest(s.seen_at, at)
        WHERE s.clinic_id = found_session.clinic_id AND s.id = found_session.id;
    END IF;
    RETURN QUERY SELECT found_session.clinic_id, found_session.id, found_session.account_id,
        found_session.person_id, is_present;
END
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION passkey_lookup(bytea), password_lookup(uuid), use_once(bytea, timestamptz, timestamptz),
    sessions_revoked(timestamptz), used_once_purge(timestamptz, integer),
    session_lookup(bytea, timestamptz, interval, boolean, interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION passkey_lookup(bytea), password_lookup(uuid), use_once(bytea, timestamptz, timestamptz),
    sessions_revoked(timestamptz), used_once_purge(timestamptz, integer),
    session_lookup(bytea, timestamptz, interval, boolean, interval, interval) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION passkey_lookup(bytea) OWNER TO medmesh_gate;
ALTER FUNCTION password_lookup(uuid) OWNER TO medmesh_gate;
ALTER FUNCTION use_once(bytea, timestamptz, timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION sessions_revoked(timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION used_once_purge(timestamptz, integer) OWNER TO medmesh_gate;
ALTER FUNCTION session_lookup(bytea, timestamptz, interval, boolean, interval, interval) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
