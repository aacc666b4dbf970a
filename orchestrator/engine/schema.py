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
"""
