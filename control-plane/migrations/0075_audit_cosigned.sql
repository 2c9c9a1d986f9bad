-- What an outside witness signed of each clinic's log. It is the witness that remembers; this is
-- only so that proofs carry its signature and nobody is asked twice for the same head.
ALTER TABLE audit_tree
    ADD COLUMN cosigned_size bigint NOT NULL DEFAULT 0,
    ADD COLUMN cosigned_note text,
    -- Since when it refuses.
    ADD COLUMN refused_at timestamptz;

-- Logs with a head the witness has not signed, or would not; those waiting longest first.
CREATE FUNCTION audit_uncosigned(rows integer) RETURNS TABLE (clinic_id uuid, cosigned_size bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.clinic_id, t.cosigned_size FROM audit_tree t
    WHERE t.published_size > 0 AND (t.published_size <> t.cosigned_size OR t.refused_at IS NOT NULL)
    ORDER BY t.published_size - t.cosigned_size DESC LIMIT rows
$$;

-- The witness's own word: whatever was kept before, smaller or larger, is what no longer counts.
CREATE FUNCTION audit_cosigned(clinic uuid, new_size bigint, new_note text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH moved AS (
        UPDATE audit_tree t SET cosigned_size = new_size, cosigned_note = new_note, refused_at = NULL
        WHERE t.clinic_id = clinic RETURNING 1
    )
    SELECT count(*) FROM moved
$$;

CREATE FUNCTION audit_cosign_refused(clinic uuid, at timestamptz) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH moved AS (
        UPDATE audit_tree t SET refused_at = coalesce(t.refused_at, at) WHERE t.clinic_id = clinic RETURNING 1
    )
    SELECT count(*) FROM moved
$$;

GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY['audit_uncosigned(integer)', 'audit_cosigned(uuid, bigint, text)',
        'audit_cosign_refused(uuid, timestamptz)']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
