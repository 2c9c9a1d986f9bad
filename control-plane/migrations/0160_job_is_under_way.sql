-- Whether the installation has a job of this kind for this subject that has not ended: asked before something
-- is made that only that job would use.
CREATE FUNCTION job_is_under_way(kind text, dedupe_key text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM job j
        WHERE j.clinic_id IS NULL AND j.kind = $1 AND j.dedupe_key = $2 AND j.dead_at IS NULL
    )
$$;
-- Before the function changes hands: afterwards it is no longer the owner's to give.
REVOKE ALL ON FUNCTION job_is_under_way(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_is_under_way(text, text) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION job_is_under_way(text, text) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
