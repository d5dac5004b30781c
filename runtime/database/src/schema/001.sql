CREATE SCHEMA IF NOT EXISTS room;

CREATE TABLE room.versions (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Nodes and shards. A row of a node is one incarnation. No column that a heartbeat changes is in a unique index over all
-- rows, so that heartbeats do not wait for the guards of commits (FOR KEY SHARE).
CREATE TABLE room.nodes (
    incarnation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    address text NOT NULL,
    program text NOT NULL,
    started timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive boolean NOT NULL DEFAULT true,
    draining boolean NOT NULL DEFAULT false,
    figures text NOT NULL DEFAULT '{}'
);

CREATE TABLE room.shards (
    shard smallint PRIMARY KEY,
    -- NULL: no node has it.
    incarnation bigint REFERENCES room.nodes (incarnation)
);
INSERT INTO room.shards (shard) SELECT generate_series(0, 1023);

-- The bytes of rooms. A store is one project's.
CREATE TABLE room.stores (
    store bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL UNIQUE,
    -- 16 random bytes, made with the store.
    id bytea NOT NULL,
    -- How often a node opened it.
    openings bigint NOT NULL DEFAULT 0
);

CREATE TABLE room.entries (
    store bigint NOT NULL REFERENCES room.stores (store) ON DELETE CASCADE,
    key bytea NOT NULL,
    value bytea NOT NULL,
    shard smallint NOT NULL,
    PRIMARY KEY (store, key)
);
