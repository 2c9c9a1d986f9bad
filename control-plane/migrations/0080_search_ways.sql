-- Looking for patients by the index alone, however common their names are.
--
-- An alternative is one conjunction and one scan: GIN then leaps from bearer to bearer of its
-- rarest token, where an OR inside of it would first collect everybody whom each side names.

-- Patients who meet every group of one alternative: one token of a group, or all where it needs all.
-- Groups and alternatives are written one after the other, their ends say where each ends. At most
-- `most` of each alternative; somebody may be met by more than one.
CREATE FUNCTION patient_search_by(
    tokens bigint[], group_ends integer[], needs_all boolean[], alternative_ends integer[], most integer)
    RETURNS TABLE (patient_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    -- A token that is not among the commonest is taken for a common one all the same, and the planner
    -- would hope to come across the few it wants by reading the table: all of it, where there is nobody.
    SET enable_seqscan = off AS $$
DECLARE
    alternatives text[] := '{}';
    conditions text;
    token_from integer := 1;
    group_from integer := 1;
BEGIN
    -- The tokens are numbers, written into the statement so that each search is planned for its own.
    FOR a IN 1 .. coalesce(array_length(alternative_ends, 1), 0) LOOP
        conditions := '';
        FOR g IN group_from .. alternative_ends[a] LOOP
            -- Everybody has all of nothing: a group without tokens is nobody's.
            conditions := conditions || CASE
                WHEN group_ends[g] < token_from THEN ' AND false'
                WHEN needs_all[g] THEN format(' AND s.tokens @> %L::bigint[]', tokens[token_from : group_ends[g]])
                ELSE format(' AND s.tokens && %L::bigint[]', tokens[token_from : group_ends[g]])
            END;
            token_from := group_ends[g] + 1;
        END LOOP;
        group_from := alternative_ends[a] + 1;
        CONTINUE WHEN conditions = '';
        -- IS TRUE: the tenant is looked at afterwards, and no reason to read all its rows.
        alternatives := alternatives || format(
            '(SELECT s.patient_id FROM patient_search s WHERE (s.clinic_id = current_clinic()) IS TRUE%s LIMIT %s)',
            conditions, most);
    END LOOP;
    IF alternatives <> '{}' THEN
        RETURN QUERY EXECUTE array_to_string(alternatives, ' UNION ALL ');
    END IF;
END
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION patient_search_by(bigint[], integer[], boolean[], integer[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION patient_search_by(bigint[], integer[], boolean[], integer[], integer) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION patient_search_by(bigint[], integer[], boolean[], integer[], integer) OWNER TO medmesh_gate;
-- What it replaces.
DROP FUNCTION patient_search_by(bigint[], integer[], bigint[], integer[], integer);
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
