-- Version 1 of the local store. Ids are big-endian bytes, times nanoseconds since the epoch,
-- documents (attributes, events, links) JSON text so that SQLite can look inside.

CREATE TABLE resources (
    id          INTEGER PRIMARY KEY,
    service     TEXT NOT NULL,
    attributes  TEXT NOT NULL,
    UNIQUE (attributes, service)
);

CREATE TABLE scopes (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    version  TEXT NOT NULL,
    UNIQUE (name, version)
);

-- Rows are appended in the order they arrive, and only the index on the ids is random: a table
-- clustered by trace id would rewrite a page per span.
CREATE TABLE spans (
    id                  INTEGER PRIMARY KEY,
    trace_id            BLOB NOT NULL,
    span_id             BLOB NOT NULL,
    parent_span_id      BLOB NOT NULL,      -- empty: none
    trace_state         TEXT NOT NULL,
    flags               INTEGER NOT NULL,
    name                TEXT NOT NULL,
    kind                INTEGER NOT NULL,   -- internal 0, server 1, client 2, producer 3, consumer 4
    start_ns            INTEGER NOT NULL,
    end_ns              INTEGER NOT NULL,
    status_code         INTEGER NOT NULL,   -- unset 0, ok 1, error 2
    status_message      TEXT NOT NULL,
    dropped_attributes  INTEGER NOT NULL,
    dropped_events      INTEGER NOT NULL,
    dropped_links       INTEGER NOT NULL,
    resource_id         INTEGER NOT NULL REFERENCES resources (id),
    scope_id            INTEGER NOT NULL REFERENCES scopes (id),
    attributes          TEXT NOT NULL,      -- {key: value}
    events              TEXT NOT NULL,      -- [[name, time_ns, attributes, dropped]]
    links               TEXT NOT NULL       -- [[trace_id, span_id, trace_state, attributes, dropped]]
);
CREATE UNIQUE INDEX spans_by_id ON spans (trace_id, span_id);

-- One row per trace, kept by the writer, so that the newest traces need no scan of the spans.
CREATE TABLE traces (
    trace_id      BLOB PRIMARY KEY,
    start_ns      INTEGER NOT NULL,
    end_ns        INTEGER NOT NULL,
    span_count    INTEGER NOT NULL,
    error_count   INTEGER NOT NULL,
    root_rank     INTEGER NOT NULL,         -- 0: the span named here has no parent; 1: it has one
    root_start_ns INTEGER NOT NULL,
    root_name     TEXT NOT NULL,
    service       TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_by_start ON traces (start_ns);
