"""Tables of a lane and of the whole installation. One PostgreSQL schema a lane: `lane_007`."""

LANE_TABLES = """
CREATE TABLE IF NOT EXISTS {lane}.positions (
    name text PRIMARY KEY,
    at bigint NOT NULL,
    detail text NOT NULL DEFAULT '{{}}'
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS {lane}.timers (
    stream_id uuid NOT NULL,
    timer text NOT NULL,
    armed_at bigint NOT NULL,
    due_ms bigint NOT NULL,
    stream text NOT NULL,
    history boolean NOT NULL DEFAULT false,
    PRIMARY KEY (stream_id, timer)
);
CREATE INDEX IF NOT EXISTS timers_due ON {lane}.timers (history, due_ms);
CREATE TABLE IF NOT EXISTS {lane}.journeys (
    stream_id uuid PRIMARY KEY,
    stream text NOT NULL,
    kind text NOT NULL,
    definition text NOT NULL,
    definition_version bigint NOT NULL,
    label text NOT NULL,
    version bigint NOT NULL,
    updated_ms bigint NOT NULL,
    fold_version integer NOT NULL,
    snapshot bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS journeys_by_label ON {lane}.journeys (kind, definition, label, stream);
CREATE TABLE IF NOT EXISTS {lane}.stream_keys (
    stream_id uuid NOT NULL,
    first_version bigint NOT NULL,
    packed bytea NOT NULL,
    PRIMARY KEY (stream_id, first_version)
);
CREATE TABLE IF NOT EXISTS {lane}.dead_letters (
    id text PRIMARY KEY,
    version bigint NOT NULL,
    topic text NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    source text,
    command_id text,
    command_type text,
    subject text,
    at_ms bigint NOT NULL,
    status text NOT NULL DEFAULT 'open',
    note text NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS {lane}.controls (
    id text PRIMARY KEY,
    type text NOT NULL,
    data text NOT NULL DEFAULT '{{}}',
    answer text,
    made timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS {lane}.subject_keys (
    subject text PRIMARY KEY,
    key bytea NOT NULL
);
"""

LANE_FUNCTIONS: tuple[str, ...] = (
    # A small transaction in one round trip: six of them cost more than what is in it.
    """
    CREATE OR REPLACE FUNCTION {lane}.append(
        names text[], were bigint[], are bigint[], details text[],
        event_ids uuid[], versions bigint[], topics text[], states bytea[], event_positions bigint[],
        deleted_ids uuid[], deleted_timers text[],
        set_ids uuid[], set_timers text[], armed bigint[], due bigint[], streams text[], in_history boolean[]
    ) RETURNS void LANGUAGE plpgsql AS $function$
    DECLARE
        moved integer;
    BEGIN
        UPDATE {lane}.positions p SET at = q.at, detail = COALESCE(q.detail, p.detail)
            FROM unnest(names, were, are, details) AS q(name, was, at, detail)
            WHERE p.name = q.name AND p.at = q.was;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(names) THEN
            RAISE EXCEPTION 'fenced' USING ERRCODE = 'JF001';
        END IF;
        INSERT INTO {lane}.stored_events (originator_id, originator_version, topic, state, notification_id)
            SELECT * FROM unnest(event_ids, versions, topics, states, event_positions);
        IF cardinality(deleted_ids) > 0 THEN
            DELETE FROM {lane}.timers t USING unnest(deleted_ids, deleted_timers) AS q(id, timer)
                WHERE t.stream_id = q.id AND t.timer = q.timer;
        END IF;
        IF cardinality(set_ids) > 0 THEN
            INSERT INTO {lane}.timers (stream_id, timer, armed_at, due_ms, stream, history)
                SELECT * FROM unnest(set_ids, set_timers, armed, due, streams, in_history)
                ON CONFLICT (stream_id, timer) DO UPDATE SET armed_at = EXCLUDED.armed_at, due_ms = EXCLUDED.due_ms,
                    history = EXCLUDED.history;
        END IF;
    END
    $function$
    """,
)
"""Each a statement of its own: their bodies hold semicolons."""

FENCED_STATE = "JF001"
"""The SQLSTATE by which `append` says that a position isn't where the caller thinks it is."""

FLOW_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE IF NOT EXISTS {lane}.flow_counts (
        definition text NOT NULL,
        version bigint NOT NULL,
        day bigint NOT NULL,
        node text NOT NULL,
        measure text NOT NULL,
        key text NOT NULL,
        n bigint NOT NULL,
        PRIMARY KEY (definition, version, day, node, measure, key)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS {lane}.flow_open (
        stream_id uuid PRIMARY KEY,
        state bytea NOT NULL
    )
    """,
)
"""How customers go through flows: counts, and what counting remembers of streams (projections.flow_analytics)."""

SHARED_TABLES = """
CREATE SCHEMA IF NOT EXISTS orchestrator;
CREATE TABLE IF NOT EXISTS orchestrator.installation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    lanes integer NOT NULL,
    format integer NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS orchestrator.definitions (
    kind text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    document text NOT NULL,
    digest text NOT NULL,
    published timestamptz NOT NULL DEFAULT now(),
    revision bigserial NOT NULL,
    PRIMARY KEY (kind, id, version)
);
CREATE TABLE IF NOT EXISTS orchestrator.addresses (
    pseudonym bytea NOT NULL,
    owner text NOT NULL,
    channel text NOT NULL,
    stream text NOT NULL,
    effect text NOT NULL,
    action text NOT NULL,
    template text NOT NULL,
    sent timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pseudonym, owner)
);
CREATE INDEX IF NOT EXISTS addresses_by_owner ON orchestrator.addresses (owner);
"""
