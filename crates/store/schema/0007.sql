-- The traffic policies that were set at run time: which versions answer the requests of an endpoint. Each change is a row;
-- the newest of an endpoint is in force.

CREATE TABLE traffic_changes (
    endpoint TEXT NOT NULL,
    -- Counts the changes of the endpoint, from 1.
    revision BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    -- set, removed or undone
    action TEXT NOT NULL,
    comment TEXT NOT NULL,
    -- JSON; empty where the policy was removed.
    policy TEXT NOT NULL,
    -- JSON: which sticky keys each version has.
    assignment TEXT NOT NULL,
    PRIMARY KEY (endpoint, revision)
);

INSERT INTO counters (name, value) VALUES ('traffic', 0);
