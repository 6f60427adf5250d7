-- One schema for SQLite and PostgreSQL: BIGINT and TEXT only, times in milliseconds since 1970, JSON as TEXT.

CREATE TABLE properties (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Its row is locked by every writing transaction, so that changes are numbered in the order in which they commit.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('change', 0);

-- What happened, in order. Rows are only ever added.
CREATE TABLE events (
    change BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    version BIGINT,
    detail TEXT NOT NULL
);

CREATE TABLE models (
    name TEXT PRIMARY KEY,
    next_version BIGINT NOT NULL
);

-- Contents in the object store, by the SHA-256 of their plain bytes.
CREATE TABLE objects (
    digest TEXT PRIMARY KEY,
    location TEXT NOT NULL UNIQUE,
    bytes BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    -- The data key, wrapped by the registry's key; absent where the object is not encrypted.
    envelope TEXT,
    -- When it was last written or lost a version that needs it.
    touched_ms BIGINT NOT NULL
);

CREATE TABLE versions (
    model TEXT NOT NULL REFERENCES models (name),
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    -- ready, deprecated or deleted
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    manifest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    pushed_by TEXT NOT NULL,
    pushed_ms BIGINT NOT NULL,
    PRIMARY KEY (model, number)
);

CREATE UNIQUE INDEX versions_by_digest ON versions (model, digest) WHERE state <> 'deleted';

CREATE TABLE version_files (
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES objects (digest),
    bytes BIGINT NOT NULL,
    PRIMARY KEY (model, number, path),
    FOREIGN KEY (model, number) REFERENCES versions (model, number)
);

CREATE INDEX version_files_by_digest ON version_files (digest);

CREATE TABLE signatures (
    model TEXT NOT NULL,
    number BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    signed_ms BIGINT NOT NULL,
    PRIMARY KEY (model, number, key_id),
    FOREIGN KEY (model, number) REFERENCES versions (model, number)
);

CREATE TABLE aliases (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, name),
    FOREIGN KEY (model, version) REFERENCES versions (model, number)
);

-- Every move of an alias; version is absent where the alias was removed.
CREATE TABLE alias_moves (
    change BIGINT PRIMARY KEY,
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT,
    -- set, rollback or remove
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);

CREATE INDEX alias_moves_by_alias ON alias_moves (model, name, change);

-- Which versions which server says that it uses.
CREATE TABLE uses (
    server TEXT NOT NULL,
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    reported_ms BIGINT NOT NULL,
    PRIMARY KEY (server, model, version)
);

-- Pushes under way, and the objects that each of them counts on.
CREATE TABLE pushes (
    id TEXT PRIMARY KEY,
    actor TEXT NOT NULL,
    alive_ms BIGINT NOT NULL
);

CREATE TABLE push_objects (
    push TEXT NOT NULL REFERENCES pushes (id),
    digest TEXT NOT NULL,
    PRIMARY KEY (push, digest)
);

-- Objects on their way into the store. A push that is cut off leaves its row, for the next one to go on from.
CREATE TABLE uploads (
    location TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    envelope TEXT,
    -- The object store's own name of a multipart upload, and its parts as JSON; absent where it cannot be resumed.
    multipart TEXT,
    part_bytes BIGINT NOT NULL,
    push TEXT NOT NULL,
    alive_ms BIGINT NOT NULL
);

CREATE INDEX uploads_by_digest ON uploads (digest);

CREATE TABLE upload_parts (
    location TEXT NOT NULL REFERENCES uploads (location),
    part BIGINT NOT NULL,
    content_id TEXT NOT NULL,
    PRIMARY KEY (location, part)
);

-- Locations that nothing refers to any more and that are to be removed from the object store.
CREATE TABLE garbage (
    location TEXT PRIMARY KEY,
    multipart TEXT
);
