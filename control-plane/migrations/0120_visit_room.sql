-- An operator who was told of a visit asks where its people are: the room of a visit, of whatever clinic.
CREATE FUNCTION visit_room(wanted_visit uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT v.room_id FROM visit v WHERE v.id = wanted_visit
$$;
-- Before the function changes hands: afterwards these are no longer the owner's to give.
REVOKE ALL ON FUNCTION visit_room(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION visit_room(uuid) TO medmesh_service;
GRANT CREATE ON SCHEMA public TO medmesh_gate;
ALTER FUNCTION visit_room(uuid) OWNER TO medmesh_gate;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
