-- Experiments: which of several versions is better for those who use it.

CREATE TABLE experiments (
    -- Users are assigned by it, so it is used once.
    name TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    -- What is compared, as JSON.
    definition TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    started_by TEXT NOT NULL,
    -- When it stopped; NULL while it runs.
    ended_ms BIGINT,
    ended_by TEXT NOT NULL,
    -- Why it stopped.
    reason TEXT NOT NULL,
    -- What it said last, as JSON; empty until it says something.
    report TEXT NOT NULL
);

-- What each server saw of the users of an experiment, in parts by their hash.
CREATE TABLE experiment_users (
    experiment TEXT NOT NULL,
    server TEXT NOT NULL,
    part BIGINT NOT NULL,
    -- JSON
    users TEXT NOT NULL,
    PRIMARY KEY (experiment, server, part)
);
