-- Run once in each new database (CREATE DATABASE … OWNER medmesh_owner) by an administrator.
-- The owner of the tables gets the schema itself: it does not inherit (see roles.sql),
-- so it would not profit from owning the database.
ALTER SCHEMA public OWNER TO medmesh_owner;
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO medmesh_service', current_database());
END
$$;
