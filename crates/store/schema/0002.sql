-- What the replicas of a group tell each other: servers that serve the same and count objectives together.

-- Numbers everything below in the order in which it commits. A counter of its own: those who follow versions and aliases
-- need not look when it moves.
INSERT INTO counters (name, value) VALUES ('shared', 0);

CREATE TABLE replicas (
    replica_group TEXT NOT NULL,
    id TEXT NOT NULL,
    -- For people.
    name TEXT NOT NULL,
    -- The last addition of this replica that is in shared_counts.
    addition BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (replica_group, id)
);

-- Good requests and all requests of an objective, of all replicas together, in the bucket of this width and index.
CREATE TABLE shared_counts (
    replica_group TEXT NOT NULL,
    objective TEXT NOT NULL,
    width_ms BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    good BIGINT NOT NULL,
    total BIGINT NOT NULL,
    change BIGINT NOT NULL,
    PRIMARY KEY (replica_group, objective, width_ms, bucket)
);

CREATE INDEX shared_counts_by_change ON shared_counts (replica_group, change);

-- What people told one replica and all should know. The body is absent where it was taken back.
CREATE TABLE shared_notes (
    replica_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT,
    change BIGINT NOT NULL,
    noted_ms BIGINT NOT NULL,
    PRIMARY KEY (replica_group, kind, name)
);

CREATE INDEX shared_notes_by_change ON shared_notes (replica_group, change);

-- Which replica does what only one should do.
CREATE TABLE leases (
    replica_group TEXT NOT NULL,
    duty TEXT NOT NULL,
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (replica_group, duty)
);
