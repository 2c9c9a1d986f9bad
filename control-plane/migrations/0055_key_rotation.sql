-- What a rotation needs to know, to come to an end, and to be seen.

-- The key of blind indexes may be replaced too: a version of the clinic's key brings the old one
-- along or begins a new one. The old one goes when nothing is found by it any more.
ALTER TABLE clinic_key
    ADD COLUMN index_version integer NOT NULL DEFAULT 1,
    -- Below this version nothing is opened but audit events and stored answers: whatever else is
    -- still under them was put back. Control nodes keep it in their ledger as well.
    ADD COLUMN floor integer NOT NULL DEFAULT 0,
    ALTER COLUMN index_key DROP NOT NULL;
GRANT UPDATE (floor, index_key) ON clinic_key TO medmesh_service;
ALTER TABLE patient_search ADD COLUMN index_version integer NOT NULL DEFAULT 1;
GRANT UPDATE (reason) ON referral, break_glass TO medmesh_service;

GRANT SELECT (index_version, floor) ON clinic_key TO medmesh_gate;
DROP FUNCTION key_scopes();
CREATE FUNCTION key_scopes()
    RETURNS TABLE (clinic_id uuid, version integer, root text, sealed bigint, created_at timestamptz,
        index_version integer, floor integer, patients bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.clinic_id, k.version, k.root, k.sealed, k.created_at, k.index_version, k.floor,
        (SELECT count(*) FROM patient_key p
         WHERE p.clinic_id = k.clinic_id AND p.clinic_key_version = k.version)
    FROM clinic_key k ORDER BY k.clinic_id, k.version
$$;
-- Clinics that have keys, some at a time.
CREATE FUNCTION key_clinics(after_id uuid, most integer) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT DISTINCT k.clinic_id FROM clinic_key k
    WHERE after_id IS NULL OR k.clinic_id > after_id ORDER BY k.clinic_id LIMIT most
$$;
CREATE FUNCTION key_floors() RETURNS TABLE (clinic_id uuid, floor integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.clinic_id, max(k.floor) FROM clinic_key k WHERE k.floor > 0 GROUP BY k.clinic_id
$$;

-- Long work is done in turns, and says how far it is.
ALTER TABLE job ADD COLUMN moved bigint, ADD COLUMN remaining bigint;
-- Not done, not failed: there is more to do, from what the payload says now.
CREATE FUNCTION job_go_on(id uuid, claim uuid, payload jsonb, due_at timestamptz, moved bigint, remaining bigint)
    RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone_on AS (
        UPDATE job j SET claim = NULL, claimed_until = NULL, attempts = 0, last_error = NULL,
            payload = $3, due_at = $4, moved = $5, remaining = $6
        WHERE j.id = $1 AND j.claim = $2 RETURNING 1
    )
    SELECT count(*) FROM gone_on
$$;
DROP FUNCTION job_list(boolean, uuid, integer);
CREATE FUNCTION job_list(dead boolean, after_id uuid, rows integer)
    RETURNS TABLE (id uuid, clinic_id uuid, kind text, created_at timestamptz, due_at timestamptz,
        attempts integer, attempts_max integer, claimed_until timestamptz, dead_at timestamptz, last_error text,
        moved bigint, remaining bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.id, j.clinic_id, j.kind, j.created_at, j.due_at, j.attempts, j.attempts_max,
        j.claimed_until, j.dead_at, j.last_error, j.moved, j.remaining
    FROM job j
    WHERE (dead IS NULL OR dead = (j.dead_at IS NOT NULL)) AND (after_id IS NULL OR j.id > after_id)
    ORDER BY j.id LIMIT rows
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY['key_scopes()', 'key_clinics(uuid, integer)', 'key_floors()',
        'job_go_on(uuid, uuid, jsonb, timestamptz, bigint, bigint)', 'job_list(boolean, uuid, integer)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
