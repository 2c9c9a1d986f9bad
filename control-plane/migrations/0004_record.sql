-- What is written beside an effect, in the same transaction: the audit leaf, the
-- answer to a repeated request, the event for whoever is watching.

CREATE TABLE audit (
    clinic_id   uuid NOT NULL REFERENCES clinic (id),
    id          uuid NOT NULL,
    -- The order of writing within the database; gaps are transactions that rolled back.
    sequence    bigint GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL,
    actor_kind  text NOT NULL,                   -- 'person', or the system's part
    actor_id    uuid,                            -- the person
    session_id  uuid,
    action      text NOT NULL,
    object_kind text NOT NULL,
    object_id   uuid,
    -- The patient whose record it was, so that they can see who saw it.
    patient_id  uuid,
    purpose     text NOT NULL,
    request_id  uuid NOT NULL,
    PRIMARY KEY (clinic_id, id)
);
CREATE INDEX audit_by_sequence ON audit (clinic_id, sequence);
CREATE INDEX audit_by_patient ON audit (clinic_id, patient_id, sequence) WHERE patient_id IS NOT NULL;
CALL guard_tenant_table('audit', 'clinic_id');
GRANT SELECT, INSERT ON audit TO medmesh_service;

-- Append-only for everybody, the owner included.
CREATE FUNCTION refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

CREATE TABLE idempotency (
    clinic_id        uuid NOT NULL REFERENCES clinic (id),
    account_id       uuid NOT NULL,
    route            text NOT NULL,
    key              text NOT NULL,
    request_sha256   bytea NOT NULL,
    response_status  smallint,
    response_headers jsonb,
    response_body    bytea,                      -- PHI, sealed: the answer as it was sent
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (clinic_id, account_id, route, key),
    CONSTRAINT idempotency_key_length CHECK (length(key) BETWEEN 8 AND 64)
);
CREATE INDEX idempotency_age ON idempotency (created_at);
CALL guard_tenant_table('idempotency', 'clinic_id');
GRANT SELECT, INSERT, UPDATE ON idempotency TO medmesh_service;

-- The row goes in first and gets its answer before the transaction ends: an
-- effect without a replayable answer cannot be committed.
CREATE FUNCTION refuse_unanswered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM idempotency i
    WHERE (i.clinic_id, i.account_id, i.route, i.key) = (NEW.clinic_id, NEW.account_id, NEW.route, NEW.key)
        AND (i.response_status IS NULL OR i.response_headers IS NULL OR i.response_body IS NULL);
    IF FOUND THEN
        RAISE EXCEPTION 'an idempotent request was committed without its answer'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_answered';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER idempotency_answered AFTER INSERT ON idempotency
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unanswered();

CREATE TABLE outbox (
    clinic_id     uuid NOT NULL REFERENCES clinic (id),
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    visit_id      uuid NOT NULL,
    message_id    uuid,
    created_at    timestamptz NOT NULL,
    claimed_until timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    CONSTRAINT outbox_kind_known CHECK (
        (kind = 'visit_changed' AND message_id IS NULL)
        OR (kind = 'message_created' AND message_id IS NOT NULL))
);
CALL guard_tenant_table('outbox', 'clinic_id');
GRANT SELECT, INSERT ON outbox TO medmesh_service;

CREATE POLICY gate_read ON outbox FOR SELECT TO medmesh_gate USING (true);
CREATE POLICY gate_claim ON outbox FOR UPDATE TO medmesh_gate USING (true) WITH CHECK (true);
CREATE POLICY gate_done ON outbox FOR DELETE TO medmesh_gate USING (true);
GRANT SELECT, UPDATE, DELETE ON outbox TO medmesh_gate;
CREATE POLICY gate_read ON idempotency FOR SELECT TO medmesh_gate USING (true);
CREATE POLICY gate_purge ON idempotency FOR DELETE TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, account_id, route, key, created_at), DELETE ON idempotency TO medmesh_gate;

-- Claims the oldest events for a while. Whoever dies with a claim loses it when it
-- runs out: delivery is at least once. NOTIFY would take a lock shared by all commits.
CREATE FUNCTION outbox_poll(at timestamptz, lease interval, batch integer)
    RETURNS TABLE (id bigint, clinic_id uuid, kind text, visit_id uuid, message_id uuid,
        created_at timestamptz, attempts integer)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH due AS (
        SELECT o.id FROM outbox o
        WHERE o.claimed_until IS NULL OR o.claimed_until <= at
        ORDER BY o.id LIMIT batch FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE outbox o SET claimed_until = at + lease, attempts = o.attempts + 1
        FROM due WHERE o.id = due.id
        RETURNING o.id, o.clinic_id, o.kind, o.visit_id, o.message_id, o.created_at, o.attempts
    )
    SELECT * FROM claimed ORDER BY id
$$;

CREATE FUNCTION outbox_done(done bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (DELETE FROM outbox o WHERE o.id = ANY (done) RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Removes what is past its time, a bounded bite at once.
CREATE FUNCTION upkeep(sessions_before timestamptz, idempotency_before timestamptz, bite integer)
    RETURNS TABLE (sessions bigint, idempotency_keys bigint)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old_sessions AS (
        DELETE FROM session s USING (
            SELECT clinic_id, id FROM session WHERE expires_at < sessions_before LIMIT bite) old
        WHERE s.clinic_id = old.clinic_id AND s.id = old.id RETURNING 1
    ), old_keys AS (
        DELETE FROM idempotency i USING (
            SELECT clinic_id, account_id, route, key FROM idempotency
            WHERE created_at < idempotency_before LIMIT bite) old
        WHERE (i.clinic_id, i.account_id, i.route, i.key)
            = (old.clinic_id, old.account_id, old.route, old.key) RETURNING 1
    )
    SELECT (SELECT count(*) FROM old_sessions), (SELECT count(*) FROM old_keys)
$$;

-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION outbox_poll(timestamptz, interval, integer), outbox_done(bigint[]),
    upkeep(timestamptz, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outbox_poll(timestamptz, interval, integer), outbox_done(bigint[]),
    upkeep(timestamptz, timestamptz, integer) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION outbox_poll(timestamptz, interval, integer) OWNER TO medmesh_gate;
ALTER FUNCTION outbox_done(bigint[]) OWNER TO medmesh_gate;
ALTER FUNCTION upkeep(timestamptz, timestamptz, integer) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
