-- Run once per PostgreSQL cluster by an administrator, before the first migration.
-- Passwords (or certificates, or peer maps) are given to the two login roles by
-- whoever runs this, with ALTER ROLE; they are never in a file.
--
--   medmesh_owner    owns every table and runs migrations. Bound by row-level
--                    security too, because every tenant table FORCEs it.
--   medmesh_service  what a control node connects as: no ownership, no BYPASSRLS.
--   medmesh_gate     owns the few functions that must look across clinics (sign-in,
--                    sessions, the outbox). Nobody can log in as it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'medmesh_owner') THEN
        CREATE ROLE medmesh_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'medmesh_service') THEN
        CREATE ROLE medmesh_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'medmesh_gate') THEN
        CREATE ROLE medmesh_gate NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
END
$$;
-- The owner hands its gate functions to the gate role, and must belong to it for that.
-- It does not inherit, or the gate's view across clinics would become its own.
GRANT medmesh_gate TO medmesh_owner;
-- A statement that hangs must not hold a clinic's row locks for long.
ALTER ROLE medmesh_service SET statement_timeout = '15s';
ALTER ROLE medmesh_service SET lock_timeout = '10s';
ALTER ROLE medmesh_service SET idle_in_transaction_session_timeout = '30s';
-- What a statement works on is health data, sealed or not: the server's log gets neither the statement
-- that failed, nor its parameters, nor the row a constraint is about, however the server is set up.
DO $$
DECLARE
    login text;
    setting text;
BEGIN
    FOREACH login IN ARRAY ARRAY['medmesh_owner', 'medmesh_service'] LOOP
        FOREACH setting IN ARRAY ARRAY['log_error_verbosity = terse', 'log_min_error_statement = panic',
            'log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0'] LOOP
            EXECUTE format('ALTER ROLE %I SET %s', login, setting);
        END LOOP;
    END LOOP;
END
$$;
