-- Version 2: one row per turn, and one per trace without a turn, kept by the writer beside the
-- spans, so that no question about turns needs to look into spans. What is not known is NULL
-- (numbers) or empty (text).

CREATE TABLE turns (
    id              INTEGER PRIMARY KEY,
    trace_id        BLOB NOT NULL,
    span_id         BLOB NOT NULL,          -- the turn's root; empty: running, or a plain trace
    is_turn         INTEGER NOT NULL,       -- 0: a trace without a turn
    outcome         TEXT NOT NULL,
    name            TEXT NOT NULL,
    event           TEXT NOT NULL,
    service         TEXT NOT NULL,
    session         TEXT NOT NULL,
    phase           TEXT NOT NULL,
    model           TEXT NOT NULL,
    error_type      TEXT NOT NULL,
    start_ns        INTEGER NOT NULL,
    duration_ns     INTEGER NOT NULL,
    cost_usd        REAL,
    first_token_ms  REAL,
    input_tokens    INTEGER,
    output_tokens   INTEGER,
    iterations      INTEGER,
    tool_calls      INTEGER,
    model_calls     INTEGER
);
CREATE UNIQUE INDEX turns_by_id ON turns (trace_id, span_id);
CREATE INDEX turns_by_start ON turns (start_ns, trace_id, span_id);
CREATE INDEX turns_newest ON turns (start_ns, trace_id, span_id) WHERE is_turn = 1;
CREATE INDEX turns_slowest ON turns (duration_ns, trace_id, span_id) WHERE is_turn = 1;
CREATE INDEX turns_dearest ON turns (coalesce(cost_usd, -1), trace_id, span_id) WHERE is_turn = 1;
CREATE INDEX turns_of_session ON turns (session, start_ns) WHERE is_turn = 1 AND session != '';
CREATE INDEX turns_of_outcome
    ON turns (outcome, start_ns, cost_usd, input_tokens, output_tokens) WHERE is_turn = 1;
CREATE INDEX turns_plain ON turns (start_ns) WHERE is_turn = 0;
