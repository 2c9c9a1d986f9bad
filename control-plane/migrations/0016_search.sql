-- Finding patients by name without keeping a name: keyed tokens of what a name is made of.
-- What they leak is written in control-plane/vault/keys.md.

CREATE TABLE patient_search (
    clinic_id  uuid NOT NULL,
    patient_id uuid NOT NULL,
    tokens     bigint[] NOT NULL,
    PRIMARY KEY (clinic_id, patient_id),
    FOREIGN KEY (clinic_id, patient_id) REFERENCES person (clinic_id, id)
);
-- Without the pending list: it would be searched from end to end, and by whoever comes first.
CREATE INDEX patient_search_tokens ON patient_search USING gin (tokens) WITH (fastupdate = off);
CALL guard_tenant_table('patient_search', 'clinic_id');
GRANT SELECT, INSERT, UPDATE, DELETE ON patient_search TO medmesh_service;

-- An array's overlap is not leakproof, so behind a policy PostgreSQL would test it row by row
-- and never by the index. The gate looks across clinics and asks for the tenant itself; tokens
-- are keyed by clinic, so those of another do not match anyway.
CREATE POLICY gate_read ON patient_search FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT ON patient_search TO medmesh_gate;

-- Patients who meet every group: at least one token of its `some`, or all of its `every`.
-- Groups are written one after the other, `some_ends` and `every_ends` say where each ends.
CREATE FUNCTION patient_search_by(
    some_tokens bigint[], some_ends integer[], every_tokens bigint[], every_ends integer[], most integer)
    RETURNS TABLE (patient_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    conditions text := '';
    some_from integer := 1;
    every_from integer := 1;
BEGIN
    -- The tokens are numbers, written into the statement so that each search is planned for its own.
    FOR g IN 1 .. coalesce(array_length(some_ends, 1), 0) LOOP
        conditions := conditions || format(' AND (s.tokens && %L::bigint[]', some_tokens[some_from : some_ends[g]]);
        IF every_ends[g] >= every_from THEN
            conditions := conditions || format(' OR s.tokens @> %L::bigint[]', every_tokens[every_from : every_ends[g]]);
        END IF;
        conditions := conditions || ')';
        some_from := some_ends[g] + 1;
        every_from := every_ends[g] + 1;
    END LOOP;
    IF conditions = '' THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.patient_id FROM patient_search s WHERE s.clinic_id = current_clinic()%s LIMIT %s', conditions, most);
END
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION patient_search_by(bigint[], integer[], bigint[], integer[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION patient_search_by(bigint[], integer[], bigint[], integer[], integer) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION patient_search_by(bigint[], integer[], bigint[], integer[], integer) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
