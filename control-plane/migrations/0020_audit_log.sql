-- The audit log as a Merkle tree per clinic. A leaf is written in the transaction of the
-- act, without a place; one sequencer per cluster gives committed leaves their index, so
-- that the acts of a clinic never queue behind one another.
--
-- Nothing was released with the plain table this replaces: its rows, which no signed head
-- ever covered, are not carried over.
DROP TABLE audit;

-- By month of recording: the bounds are the first UUIDv7 of each month. Kept six years or
-- longer (45 CFR 164.316(b)(2)): a month is detached and archived whole, never thinned out.
CREATE TABLE audit (
    -- No reference to clinic: checking it would make every act of a clinic lock the same
    -- row. Row-level security admits the transaction's own clinic only.
    clinic_id   uuid NOT NULL,
    id          uuid NOT NULL,
    -- What can be asked for: ids and words. Each must equal what the sealed event says.
    at          timestamptz NOT NULL,
    actor_kind  text NOT NULL,                   -- 'person', or the system's part
    actor_id    uuid,
    session_id  uuid,
    action      text NOT NULL,
    object_kind text NOT NULL,
    object_id   uuid,
    -- The patient whose record it was, so that they can see who saw it.
    patient_id  uuid,
    purpose     text NOT NULL,
    request_id  uuid NOT NULL,
    -- The broken glass it was done under.
    break_glass_id uuid,
    -- What was asked for and what was missing, where it was denied.
    denied_action text,
    denied_reason text,
    -- The event's canonical encoding with its salt.
    sealed      bytea NOT NULL,
    -- SHA-256 over both: what the tree holds.
    commitment  bytea NOT NULL,
    PRIMARY KEY (clinic_id, id),
    CONSTRAINT audit_denial_sound CHECK (
        (action = 'denied') = (denied_action IS NOT NULL) AND (denied_action IS NULL) = (denied_reason IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX audit_by_patient ON audit (clinic_id, patient_id, id) WHERE patient_id IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (clinic_id, actor_id, id) WHERE actor_id IS NOT NULL;
CALL guard_tenant_table('audit', 'clinic_id');
GRANT SELECT, INSERT ON audit TO medmesh_service;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

CREATE FUNCTION uuid_at(instant timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN (lpad(to_hex((extract(epoch FROM instant) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Adds the months from `first` on that are missing. The owner's to do: the service may not
-- make tables; it asks through this function.
CREATE FUNCTION audit_months(first timestamptz, months integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    month timestamptz;
    partition text;
    added integer := 0;
BEGIN
    FOR n IN 0..least(months, 36) - 1 LOOP
        month := date_trunc('month', first, 'UTC') + make_interval(months => n);
        partition := 'audit_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.audit FOR VALUES FROM (%L) TO (%L)', partition,
            uuid_at(month), uuid_at(date_trunc('month', month + interval '32 days', 'UTC')));
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition);
        EXECUTE format('CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_rewrite()', partition);
        added := added + 1;
    END LOOP;
    RETURN added;
END
$$;
REVOKE ALL ON FUNCTION audit_months(timestamptz, integer), uuid_at(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_months(timestamptz, integer) TO medmesh_service;
SELECT audit_months(now() - interval '1 month', 14);
-- A leaf is never lost for want of a month; upkeep adds months long before this one fills.
CREATE TABLE audit_rest PARTITION OF audit DEFAULT;
ALTER TABLE audit_rest ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_rest
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

-- Committed leaves that have no place yet. Whatever order transactions commit in, a leaf is
-- seen here as soon as it is committed and not before: none can be skipped.
CREATE TABLE audit_pending (
    clinic_id  uuid NOT NULL,
    leaf_id    uuid NOT NULL
);
CALL guard_tenant_table('audit_pending', 'clinic_id');
GRANT SELECT, INSERT ON audit_pending TO medmesh_service;

CREATE TABLE audit_order (
    clinic_id  uuid NOT NULL,
    tree_index bigint NOT NULL,
    leaf_id    uuid NOT NULL,
    PRIMARY KEY (clinic_id, tree_index)
);
CREATE UNIQUE INDEX audit_order_by_leaf ON audit_order (clinic_id, leaf_id);
CALL guard_tenant_table('audit_order', 'clinic_id');
GRANT SELECT ON audit_order TO medmesh_service;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewrite();

-- How far each clinic's tree is: leaves with a place, leaves under a signed head, that head.
CREATE TABLE audit_tree (
    clinic_id      uuid PRIMARY KEY,
    size           bigint NOT NULL,
    published_size bigint NOT NULL DEFAULT 0,
    note           text
);
CALL guard_tenant_table('audit_tree', 'clinic_id');
GRANT SELECT ON audit_tree TO medmesh_service;

CREATE POLICY gate_read ON audit FOR SELECT TO medmesh_gate USING (true);
GRANT SELECT (clinic_id, id, commitment) ON audit TO medmesh_gate;
CREATE POLICY gate_all ON audit_pending TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON audit_pending TO medmesh_gate;
CREATE POLICY gate_all ON audit_order TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON audit_order TO medmesh_gate;
CREATE POLICY gate_all ON audit_tree TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON audit_tree TO medmesh_gate;

-- Gives waiting leaves their places. The lock makes sequencers take turns whatever they
-- believe of their leadership; it is the transaction's, so that a lost connection frees it.
CREATE FUNCTION audit_sequence(batch integer) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('medmesh audit sequence', 0));
    WITH taken AS (
        DELETE FROM audit_pending p WHERE p.ctid = ANY (ARRAY(
            SELECT ctid FROM audit_pending LIMIT batch))
        RETURNING p.clinic_id, p.leaf_id
    ), placed AS (
        INSERT INTO audit_order (clinic_id, tree_index, leaf_id)
        SELECT t.clinic_id,
            coalesce(tree.size, 0) + row_number() OVER (PARTITION BY t.clinic_id ORDER BY t.leaf_id) - 1,
            t.leaf_id
        FROM taken t LEFT JOIN audit_tree tree ON tree.clinic_id = t.clinic_id
        RETURNING clinic_id
    ), grown AS (
        INSERT INTO audit_tree (clinic_id, size) SELECT clinic_id, count(*) FROM placed GROUP BY clinic_id
        ON CONFLICT (clinic_id) DO UPDATE SET size = audit_tree.size + excluded.size
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM placed) + 0 * (SELECT count(*) FROM grown)
$$;

-- Trees with leaves under no signed head.
CREATE FUNCTION audit_unpublished(rows integer)
    RETURNS TABLE (clinic_id uuid, size bigint, published_size bigint, note text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.clinic_id, t.size, t.published_size, t.note FROM audit_tree t
    WHERE t.size > t.published_size ORDER BY t.size - t.published_size DESC LIMIT rows
$$;

CREATE FUNCTION audit_commitments(clinic uuid, from_index bigint, to_index bigint)
    RETURNS TABLE (commitment bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT a.commitment FROM audit_order o
    LEFT JOIN audit a ON a.clinic_id = o.clinic_id AND a.id = o.leaf_id
    WHERE o.clinic_id = clinic AND o.tree_index >= from_index AND o.tree_index < to_index
    ORDER BY o.tree_index
$$;

CREATE FUNCTION audit_published(clinic uuid, new_size bigint, new_note text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH moved AS (
        UPDATE audit_tree t SET published_size = new_size, note = new_note
        WHERE t.clinic_id = clinic AND t.published_size <= new_size AND t.size >= new_size RETURNING 1
    )
    SELECT count(*) FROM moved
$$;

-- What became of leaves: those that have a place, and what they commit to now.
CREATE FUNCTION audit_placed(clinics uuid[], leaves uuid[]) RETURNS TABLE (leaf_id uuid, commitment bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.leaf_id, a.commitment FROM unnest(clinics, leaves) AS asked (clinic_id, id)
    JOIN audit_order o ON o.clinic_id = asked.clinic_id AND o.leaf_id = asked.id
    LEFT JOIN audit a ON a.clinic_id = asked.clinic_id AND a.id = asked.id
$$;

-- How many wait, since when (the first id's instant), and how many are under no head.
CREATE FUNCTION audit_backlog() RETURNS TABLE (pending bigint, oldest uuid, unpublished bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT (SELECT count(*) FROM audit_pending),
        (SELECT p.leaf_id FROM audit_pending p ORDER BY p.leaf_id LIMIT 1),
        (SELECT coalesce(sum(t.size - t.published_size), 0)::bigint FROM audit_tree t)
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY['audit_sequence(integer)', 'audit_unpublished(integer)',
        'audit_commitments(uuid, bigint, bigint)', 'audit_published(uuid, bigint, text)',
        'audit_placed(uuid[], uuid[])', 'audit_backlog()']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
