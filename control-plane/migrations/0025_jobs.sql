-- Work that outlives its request: mail, exports, calls to others. A job is written in
-- the transaction of the act that wants it, and done by some worker at least once.

CREATE TABLE job (
    id            uuid PRIMARY KEY,
    -- NULL: of the installation (an account belongs to no clinic).
    clinic_id     uuid,
    kind          text NOT NULL,
    -- Ids and words. Health data and addresses only sealed by the vault.
    payload       jsonb NOT NULL,
    -- At most one unfinished job of a kind and clinic with the same key.
    dedupe_key    text,
    created_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    attempts      integer NOT NULL DEFAULT 0,
    attempts_max  integer NOT NULL,
    -- Who works on it, until when; a worker that died loses it then.
    claim         uuid,
    claimed_until timestamptz,
    -- Given up: a person has to look at it.
    dead_at       timestamptz,
    -- A word of the handler, never text of somebody else's answer.
    last_error    text
);
CREATE INDEX job_due ON job (due_at, id) WHERE dead_at IS NULL;
CREATE INDEX job_dead ON job (dead_at, id) WHERE dead_at IS NOT NULL;
CREATE UNIQUE INDEX job_dedupe
    ON job (coalesce(clinic_id, '00000000-0000-0000-0000-000000000000'), kind, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND dead_at IS NULL;
CALL guard_tenant_table('job', 'clinic_id');
GRANT SELECT, INSERT ON job TO medmesh_service;
CREATE POLICY gate_all ON job TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON job TO medmesh_gate;

-- A job of the installation.
CREATE FUNCTION job_add(id uuid, kind text, payload jsonb, dedupe_key text, at timestamptz,
        due_at timestamptz, attempts_max integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH added AS (
        INSERT INTO job (id, kind, payload, dedupe_key, created_at, due_at, attempts_max)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING 1
    )
    SELECT count(*) FROM added
$$;

CREATE FUNCTION job_claim(kinds text[], at timestamptz, lease interval, batch integer)
    RETURNS SETOF job
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH due AS (
        SELECT j.id FROM job j
        WHERE j.dead_at IS NULL AND j.due_at <= at AND j.kind = ANY (kinds)
            AND (j.claimed_until IS NULL OR j.claimed_until <= at)
        ORDER BY j.due_at, j.id LIMIT batch FOR UPDATE SKIP LOCKED
    )
    UPDATE job j SET claim = gen_random_uuid(), claimed_until = at + lease, attempts = j.attempts + 1
    FROM due WHERE j.id = due.id RETURNING j.*
$$;

CREATE FUNCTION job_done(id uuid, claim uuid) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (DELETE FROM job j WHERE j.id = $1 AND j.claim = $2 RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Without a time to try again it is dead.
CREATE FUNCTION job_failed(id uuid, claim uuid, error text, at timestamptz, again_at timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH failed AS (
        UPDATE job j SET claim = NULL, claimed_until = NULL, last_error = $3,
            due_at = coalesce($5, j.due_at), dead_at = CASE WHEN $5 IS NULL THEN $4 END
        WHERE j.id = $1 AND j.claim = $2 RETURNING 1
    )
    SELECT count(*) FROM failed
$$;

-- What a person sees: no payload.
CREATE FUNCTION job_list(dead boolean, after_id uuid, rows integer)
    RETURNS TABLE (id uuid, clinic_id uuid, kind text, created_at timestamptz, due_at timestamptz,
        attempts integer, attempts_max integer, claimed_until timestamptz, dead_at timestamptz, last_error text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.id, j.clinic_id, j.kind, j.created_at, j.due_at, j.attempts, j.attempts_max,
        j.claimed_until, j.dead_at, j.last_error
    FROM job j
    WHERE (dead IS NULL OR dead = (j.dead_at IS NOT NULL)) AND (after_id IS NULL OR j.id > after_id)
    ORDER BY j.id LIMIT rows
$$;

CREATE FUNCTION job_retry(id uuid, at timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH again AS (
        UPDATE job j SET dead_at = NULL, due_at = $2, attempts = 0
        WHERE j.id = $1 AND j.dead_at IS NOT NULL RETURNING 1
    )
    SELECT count(*) FROM again
$$;

CREATE FUNCTION job_counts(at timestamptz)
    RETURNS TABLE (kind text, waiting bigint, running bigint, dead bigint, oldest_due timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.kind,
        count(*) FILTER (WHERE j.dead_at IS NULL AND (j.claimed_until IS NULL OR j.claimed_until <= at)),
        count(*) FILTER (WHERE j.dead_at IS NULL AND j.claimed_until > at),
        count(*) FILTER (WHERE j.dead_at IS NOT NULL),
        min(j.due_at) FILTER (WHERE j.dead_at IS NULL)
    FROM job j GROUP BY j.kind
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY[
        'job_add(uuid, text, jsonb, text, timestamptz, timestamptz, integer)',
        'job_claim(text[], timestamptz, interval, integer)', 'job_done(uuid, uuid)',
        'job_failed(uuid, uuid, text, timestamptz, timestamptz)', 'job_list(boolean, uuid, integer)',
        'job_retry(uuid, timestamptz)', 'job_counts(timestamptz)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
