-- Data sets made of captured predictions, and the triggers that ask for a new version of a model.

CREATE TABLE datasets (
    name TEXT NOT NULL,
    -- Counts the data sets of the name, from 1.
    version BIGINT NOT NULL,
    -- The SHA-256 of its file.
    digest TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    label_count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- The data folder that has its file.
    place TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- When its file was removed; the row stays, for versions that were trained on it.
    deleted_ms BIGINT,
    -- Its columns and lineage, as JSON.
    manifest TEXT NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE UNIQUE INDEX datasets_by_digest ON datasets (name, digest) WHERE deleted_ms IS NULL;

CREATE TABLE retrain_triggers (
    id TEXT PRIMARY KEY,
    rule_name TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    -- preparing, waiting, approved, open, closed, dismissed, superseded or failed
    state TEXT NOT NULL,
    -- Why it fired, with the numbers, as JSON.
    reason TEXT NOT NULL,
    fired_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    -- NAME@VERSION and digest of its data set; empty until there is one.
    dataset TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    -- How often the step that is under way has failed, and when it is tried again.
    attempts BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    problem TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    -- MODEL:VERSION of the version that closed it.
    closed_by TEXT NOT NULL
);

CREATE INDEX retrain_triggers_by_rule ON retrain_triggers (rule_name, fired_ms);

CREATE INDEX retrain_triggers_by_state ON retrain_triggers (state, fired_ms);

-- Since when each rule is in a configuration: schedules begin there.
CREATE TABLE retrain_rules (
    name TEXT PRIMARY KEY,
    since_ms BIGINT NOT NULL
);

-- The server that follows the rules.
CREATE TABLE retrain_lease (
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);

INSERT INTO retrain_lease (holder, until_ms) VALUES ('', 0);

CREATE INDEX feedback_by_receipt ON feedback (endpoint, received_ms);
