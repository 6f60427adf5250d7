-- API keys. Of a key its SHA-256 is stored, never the key.

-- Counts the changes of the table below, so that servers notice them with one cheap query.
INSERT INTO counters (name, value) VALUES ('api_keys', 0);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    -- Not unique: a key and the one that replaces it have the same name while both are valid.
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    -- The beginning of the key, for people.
    hint TEXT NOT NULL,
    tenant TEXT NOT NULL,
    -- JSON: roles with their resources.
    grants TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    last_used_ms BIGINT
);

CREATE INDEX api_keys_by_name ON api_keys (name);
