-- Long work holds on to its claim while it moves on; whoever lost it is told.
CREATE FUNCTION job_renew(id uuid, claim uuid, until timestamptz, moved bigint) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH renewed AS (
        UPDATE job j SET claimed_until = greatest(j.claimed_until, $3), moved = $4
        WHERE j.id = $1 AND j.claim = $2 RETURNING 1
    )
    SELECT count(*) FROM renewed
$$;
-- Before the function changes hands: afterwards it is no longer the owner's to give.
REVOKE ALL ON FUNCTION job_renew(uuid, uuid, timestamptz, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_renew(uuid, uuid, timestamptz, bigint) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION job_renew(uuid, uuid, timestamptz, bigint) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
