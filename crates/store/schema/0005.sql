-- The audit log: who did what to which resource, from where, with what result. Rows are added at the end, each with the
-- hash of the one before it, and removed from the front only. docs/reference/audit.md has the encoding that is hashed.

CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    tenant TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_kind TEXT NOT NULL,
    resource TEXT NOT NULL,
    source TEXT NOT NULL,
    -- started, ok, denied or failed
    result TEXT NOT NULL,
    code TEXT NOT NULL,
    -- How many equal ones the row stands for.
    occurrences BIGINT NOT NULL,
    -- Canonical JSON; empty where there is none.
    state_before TEXT NOT NULL,
    state_after TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The last row that was removed from the front: the first of the rest follows it.
CREATE TABLE audit_removed (
    number BIGINT NOT NULL,
    hash TEXT NOT NULL
);

INSERT INTO audit_removed (number, hash)
VALUES (0, '0000000000000000000000000000000000000000000000000000000000000000');
