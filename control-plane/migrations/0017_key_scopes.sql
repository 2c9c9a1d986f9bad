-- The keys of all clinics at a glance, for whoever rotates them: versions and counts, no key.
CREATE POLICY gate_read ON clinic_key FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, version, root, sealed, created_at) ON clinic_key TO medmesh_gate;
CREATE POLICY gate_read ON patient_key FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, clinic_key_version) ON patient_key TO medmesh_gate;

CREATE FUNCTION key_scopes()
    RETURNS TABLE (clinic_id uuid, version integer, root text, sealed bigint, created_at timestamptz, patients bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT k.clinic_id, k.version, k.root, k.sealed, k.created_at,
        (SELECT count(*) FROM patient_key p
         WHERE p.clinic_id = k.clinic_id AND p.clinic_key_version = k.version)
    FROM clinic_key k ORDER BY k.clinic_id, k.version
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION key_scopes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION key_scopes() TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION key_scopes() OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;

-- A message is never changed, but a rotation seals it anew: the body may be replaced by one under a
-- newer key of the same kind, and by nothing else.
CREATE FUNCTION refuse_other_body() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF substring(NEW.body FROM 1 FOR 2) IS DISTINCT FROM substring(OLD.body FROM 1 FOR 2)
        OR octet_length(NEW.body) <> octet_length(OLD.body)
        OR substring(NEW.body FROM 3 FOR 4) <= substring(OLD.body FROM 3 FOR 4) THEN
        RAISE EXCEPTION 'a message is not changed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER message_resealed_only BEFORE UPDATE ON message FOR EACH ROW EXECUTE FUNCTION refuse_other_body();
GRANT UPDATE (body) ON message TO medmesh_service;
