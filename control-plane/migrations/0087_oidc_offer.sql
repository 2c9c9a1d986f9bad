-- What a page to sign in may say of a clinic before anybody is known: that its own sign-in may be used, and
-- what the clinic calls itself. Without a clinic's number it is said only where there is no other clinic.
CREATE POLICY gate_read ON clinic FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (id, name) ON clinic TO medmesh_gate;
CREATE POLICY gate_read ON oidc_provider FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, enabled) ON oidc_provider TO medmesh_gate;

CREATE FUNCTION oidc_offer(wanted uuid) RETURNS TABLE (clinic_id uuid, name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT c.id, c.name FROM clinic c JOIN oidc_provider p ON p.clinic_id = c.id AND p.enabled
    WHERE c.id = wanted
        OR (wanted IS NULL AND NOT EXISTS (SELECT FROM clinic other WHERE other.id <> c.id))
$$;
-- Before the function changes hands: afterwards it is no longer the owner's to give.
REVOKE ALL ON FUNCTION oidc_offer(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION oidc_offer(uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION oidc_offer(uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
