-- The ground every other table stands on: the tenant and how rows find theirs.

-- Trusted since PostgreSQL 13: the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS btree_gist;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO medmesh_service, medmesh_gate;
-- So that a control node can tell whether the schema is the one it was built for.
GRANT SELECT ON _sqlx_migrations TO medmesh_service;

-- The tenant of this transaction, or NULL: then no row of any clinic matches.
-- Empty text is what a transaction-local setting leaves behind in its session.
CREATE FUNCTION current_clinic() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('medmesh.clinic_id', true), '')::uuid;

-- Puts a table under its tenant's rule; called once by each migration that adds one.
CREATE PROCEDURE guard_tenant_table(tenant_table regclass, tenant_column name)
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', tenant_table);
    EXECUTE format(
        'CREATE POLICY tenant ON %s USING (%I = current_clinic()) WITH CHECK (%I = current_clinic())',
        tenant_table, tenant_column, tenant_column);
END
$$;
REVOKE ALL ON PROCEDURE guard_tenant_table(regclass, name) FROM PUBLIC;

CREATE FUNCTION time_zone_exists(zone text) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM now() AT TIME ZONE zone;
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END
$$;

CREATE TABLE clinic (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    time_zone   text NOT NULL,
    -- Where the clinic's rows, keys and objects live, and nowhere else.
    home_region text NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT clinic_time_zone_exists CHECK (time_zone_exists(time_zone))
);
CALL guard_tenant_table('clinic', 'id');
GRANT SELECT ON clinic TO medmesh_service;
