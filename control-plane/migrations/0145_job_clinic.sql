-- Whose a job is, so that letting it be tried again is in that clinic's log; nothing where it is nobody's.
CREATE FUNCTION job_clinic(id uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT j.clinic_id FROM job j WHERE j.id = $1
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION job_clinic(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_clinic(uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION job_clinic(uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
