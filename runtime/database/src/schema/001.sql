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
    -- The time after its last heartbeat for which it is alive.
    lease_ms bigint NOT NULL,
    alive boolean NOT NULL DEFAULT true,
    -- Whether it takes no shards and gives up those that it has.
    draining boolean NOT NULL DEFAULT false,
    -- Whether an operator asked for that. It holds for the next incarnation of the same process, too.
    drained boolean NOT NULL DEFAULT false,
    figures text NOT NULL DEFAULT '{}'
);

-- Two live nodes never have one name.
CREATE UNIQUE INDEX nodes_alive ON room.nodes (name) WHERE alive;

CREATE TABLE room.cluster (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- 32 bytes, made by the first node, by which nodes prove to each other that they are of this cluster.
    key bytea NOT NULL
);
INSERT INTO room.cluster (key)
SELECT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

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
    -- Grows by at least a thousand with every opening by any node. At least the milliseconds since 1970 of the last one.
    openings bigint NOT NULL
);

-- What the rooms have, by the keys of the tree. Rooms of one shard are written by one node at a time.
CREATE TABLE room.entries (
    store bigint NOT NULL REFERENCES room.stores (store) ON DELETE CASCADE,
    key bytea NOT NULL,
    value bytea NOT NULL,
    shard smallint NOT NULL,
    PRIMARY KEY (store, key)
);

-- How many groups of commits each node wrote to each store. A group names the count before it, so a group whose answer
-- never came can be stopped.
CREATE TABLE room.writers (
    store bigint NOT NULL REFERENCES room.stores (store) ON DELETE CASCADE,
    incarnation bigint NOT NULL REFERENCES room.nodes (incarnation) ON DELETE CASCADE,
    groups bigint NOT NULL,
    PRIMARY KEY (store, incarnation)
);

-- Small notes beside the rooms, as JSON. The version grows with each change.
CREATE TABLE room.notes (
    store bigint NOT NULL REFERENCES room.stores (store) ON DELETE CASCADE,
    name text NOT NULL,
    version bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (store, name)
);

-- Projects: what operators deploy and set. Each change of a project or of the tokens adds 1 to `room.changes`, which nodes
-- read with each look, so that they read the rest only after a change.
CREATE TABLE room.changes (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    change bigint NOT NULL
);
INSERT INTO room.changes (change) VALUES (0);

CREATE TABLE room.projects (
    name text PRIMARY KEY,
    -- A project that was deleted and deployed again has another number.
    project bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- `room.changes` as of the row's last change. It is 0 within the transaction of a first deployment only.
    change bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    -- JSON.
    versions text NOT NULL,
    -- Sealed with the cluster's key, which no table has.
    variables bytea NOT NULL
);

-- Modules and static files by their BLAKE3 hash, in pieces.
CREATE TABLE room.blobs (
    hash bytea PRIMARY KEY,
    -- When a deployment needed it, or it was uploaded.
    used timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE room.pieces (
    hash bytea NOT NULL REFERENCES room.blobs (hash) ON DELETE CASCADE,
    piece integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (hash, piece)
);

-- Operators' tokens, with the hashes of their secrets.
CREATE TABLE room.tokens (
    id text PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    token text NOT NULL
);

CREATE TABLE room.audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node text NOT NULL,
    line text NOT NULL
);

-- Bytes that only the cluster's key opens, by which a node with another key is found.
CREATE TABLE room.seals (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    seal bytea NOT NULL
);
