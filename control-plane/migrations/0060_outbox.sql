-- Events with a type and a version, in order, relayed by one control node at a time.
--
-- What waited in the table this replaces was only "look again": nothing is carried over.
DROP FUNCTION outbox_poll(timestamptz, interval, integer);
DROP FUNCTION outbox_done(bigint[]);
DROP TABLE outbox;

CREATE TABLE outbox (
    -- The order of relaying. Whoever writes about a thing holds the lock of its row, so that the
    -- events of one thing are numbered in the order of their commits.
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    clinic_id    uuid NOT NULL REFERENCES clinic (id),
    -- By which a consumer knows an event that comes twice.
    event_id     uuid NOT NULL,
    kind         text NOT NULL,
    -- Of the data's form.
    version      smallint NOT NULL,
    -- The thing it is about.
    subject      uuid NOT NULL,
    -- Ids only.
    data         jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    -- Told to the control nodes; now only the sink waits for it.
    notified_at  timestamptz
);
CREATE INDEX outbox_to_notify ON outbox (seq) WHERE notified_at IS NULL;
CALL guard_tenant_table('outbox', 'clinic_id');
GRANT SELECT, INSERT ON outbox TO medmesh_service;
CREATE POLICY gate_all ON outbox TO medmesh_gate USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE, DELETE ON outbox TO medmesh_gate;

-- How often the relay changed hands.
CREATE SEQUENCE relay_term;
GRANT USAGE ON SEQUENCE relay_term TO medmesh_service;

-- The oldest events that wait: to be told (`notified` false), or for the sink (true).
CREATE FUNCTION outbox_next(notified boolean, batch integer)
    RETURNS TABLE (seq bigint, clinic_id uuid, event_id uuid, kind text, version smallint, subject uuid,
        data jsonb, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT o.seq, o.clinic_id, o.event_id, o.kind, o.version, o.subject, o.data, o.created_at
    FROM outbox o WHERE (o.notified_at IS NOT NULL) = notified ORDER BY o.seq LIMIT batch
$$;

-- Tells every control node, and keeps the events for the sink or forgets them: one transaction.
CREATE FUNCTION outbox_notify(seqs bigint[], words text[], keep boolean, at timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    done bigint;
BEGIN
    PERFORM pg_notify('medmesh_event', word) FROM unnest(words) AS word;
    IF keep THEN
        UPDATE outbox SET notified_at = at WHERE seq = ANY (seqs);
    ELSE
        DELETE FROM outbox WHERE seq = ANY (seqs);
    END IF;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$$;

CREATE FUNCTION outbox_published(seqs bigint[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH gone AS (DELETE FROM outbox o WHERE o.seq = ANY (seqs) AND o.notified_at IS NOT NULL RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- How many wait, and since when: to be told, and for the sink.
CREATE FUNCTION outbox_counts()
    RETURNS TABLE (to_notify bigint, oldest_to_notify timestamptz, to_publish bigint, oldest_to_publish timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE o.notified_at IS NULL), min(o.created_at) FILTER (WHERE o.notified_at IS NULL),
        count(*) FILTER (WHERE o.notified_at IS NOT NULL),
        min(o.created_at) FILTER (WHERE o.notified_at IS NOT NULL)
    FROM outbox o
$$;

-- Before the functions change hands: afterwards these are no longer the owner's to give.
GRANT CREATE ON SCHEMA public TO medmesh_gate;
DO $$
DECLARE gate regprocedure;
BEGIN
    FOREACH gate IN ARRAY ARRAY['outbox_next(boolean, integer)',
        'outbox_notify(bigint[], text[], boolean, timestamptz)', 'outbox_published(bigint[])',
        'outbox_counts()']::regprocedure[]
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', gate);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO medmesh_service', gate);
        EXECUTE format('ALTER FUNCTION %s OWNER TO medmesh_gate', gate);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA public FROM medmesh_gate;
