-- A log that goes on under another name does so from this head; the outside witness has signed
-- nothing of it.
CREATE FUNCTION audit_resumed(clinic uuid, new_size bigint, new_note text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH moved AS (
        UPDATE audit_tree t SET published_size = new_size, note = new_note, cosigned_size = 0, cosigned_note = NULL,
            refused_at = NULL
        WHERE t.clinic_id = clinic RETURNING 1
    )
    SELECT count(*) FROM moved
$$;

-- One log, whether all of it is under a head or not.
CREATE FUNCTION audit_tree_of(clinic uuid)
    RETURNS TABLE (size bigint, published_size bigint, note text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.size, t.published_size, t.note FROM audit_tree t WHERE t.clinic_id = clinic
$$;

GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY['audit_resumed(uuid, bigint, text)', 'audit_tree_of(uuid)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
