-- Rollouts: controlled changes of traffic policies over time.

-- One row: every rollout that is not over, with all that its next decision depends on, as JSON.
CREATE TABLE rollout_state (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL
);

-- What servers answered with the versions of rollouts, about once a second. Old rows are removed.
CREATE TABLE rollout_windows (
    -- Seconds since 1970 by the clock of the database.
    second BIGINT NOT NULL,
    endpoint TEXT NOT NULL,
    version TEXT NOT NULL,
    server TEXT NOT NULL,
    -- JSON
    figures TEXT NOT NULL,
    PRIMARY KEY (second, endpoint, version, server)
);

-- Rollouts that are over.
CREATE TABLE rollout_archive (
    endpoint TEXT NOT NULL,
    ended_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (endpoint, id)
);

INSERT INTO counters (name, value) VALUES ('rollouts', 0);
