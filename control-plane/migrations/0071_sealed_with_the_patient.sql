-- The name of what was signed on paper is somebody's own words. What was written before is sealed by
-- upkeep, a few rows at a time.
ALTER TABLE consent ALTER COLUMN document DROP NOT NULL;
ALTER TABLE consent ADD COLUMN document_sealed bytea;
ALTER TABLE consent ADD CONSTRAINT consent_document_once CHECK ((document IS NULL) <> (document_sealed IS NULL));
GRANT UPDATE (document, document_sealed) ON consent TO medmesh_service;
CREATE INDEX consent_plain ON consent (clinic_id, id) WHERE document IS NOT NULL;

-- A stored answer about a patient is sealed under their key, and goes with their record.
ALTER TABLE idempotency ADD COLUMN patient_id uuid;
CREATE INDEX idempotency_by_patient ON idempotency (clinic_id, patient_id) WHERE patient_id IS NOT NULL;
GRANT DELETE ON idempotency TO medmesh_service;

-- Whose keys were destroyed of late, so that every node forgets them; and for the register outside.
CREATE INDEX person_erased ON person (erased_at) WHERE erased_at IS NOT NULL;
GRANT SELECT (erased_at) ON person TO medmesh_gate;
CREATE FUNCTION patients_erased(since timestamptz) RETURNS TABLE (clinic_id uuid, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p.clinic_id, p.id FROM person p WHERE p.erased_at >= since
$$;
-- Erased people with a key: somebody put it back.
GRANT SELECT (patient_id) ON patient_key TO medmesh_gate;
CREATE FUNCTION patients_erased_with_keys() RETURNS TABLE (clinic_id uuid, id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT p.clinic_id, p.id FROM person p WHERE p.erased_at IS NOT NULL AND EXISTS (
        SELECT FROM patient_key k WHERE k.clinic_id = p.clinic_id AND k.patient_id = p.id)
$$;
-- Clinics with consents from before they were sealed.
GRANT SELECT (clinic_id, document) ON consent TO medmesh_gate;
CREATE POLICY gate_read ON consent FOR SELECT TO medmesh_gate USING (true);
CREATE FUNCTION consents_plain() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT DISTINCT c.clinic_id FROM consent c WHERE c.document IS NOT NULL LIMIT 16
$$;
REVOKE ALL ON FUNCTION patients_erased(timestamptz), patients_erased_with_keys(), consents_plain() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION patients_erased(timestamptz), patients_erased_with_keys(), consents_plain() TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION patients_erased(timestamptz) OWNER TO medmesh_gate;
ALTER FUNCTION patients_erased_with_keys() OWNER TO medmesh_gate;
ALTER FUNCTION consents_plain() OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
