-- Feedback: what came true of predictions. The last label that a tenant gives a row of a prediction counts.

CREATE TABLE feedback (
    endpoint TEXT NOT NULL,
    prediction_id TEXT NOT NULL,
    row_number BIGINT NOT NULL,
    -- The tenant that sent it; empty for those who act for all.
    tenant TEXT NOT NULL,
    -- When the prediction was made: the time in its id.
    prediction_ms BIGINT NOT NULL,
    -- A number, a text or a boolean, as JSON.
    label TEXT NOT NULL,
    -- When it came true, if whoever sent it says so.
    event_ms BIGINT,
    received_ms BIGINT NOT NULL,
    sent_by TEXT NOT NULL,
    -- How often another label came later.
    corrections BIGINT NOT NULL,
    PRIMARY KEY (endpoint, prediction_id, row_number, tenant)
);

CREATE INDEX feedback_by_time ON feedback (endpoint, prediction_ms);

CREATE INDEX feedback_by_age ON feedback (prediction_ms);
