-- Signed policy bundles: those that became active, and those that may. One of each number, which is the first that this node
-- saw, or the one that a quorum voted for.
CREATE TABLE bundle (
    version      INTEGER NOT NULL PRIMARY KEY,
    digest       BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    previous     BLOB    CHECK (length(previous) = 32),
    envelope     BLOB    NOT NULL,
    tightens     INTEGER NOT NULL CHECK (tightens IN (0, 1)),
    first_seen   INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    certificate  BLOB,
    activated_at INTEGER,
    CHECK ((certificate IS NULL) = (activated_at IS NULL))
) STRICT;

-- This node's one vote for what follows a bundle.
CREATE TABLE bundle_vote (
    previous  BLOB    NOT NULL PRIMARY KEY CHECK (length(previous) = 32),
    version   INTEGER NOT NULL,
    digest    BLOB    NOT NULL CHECK (length(digest) = 32),
    statement BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Vetoes, of this node and of others; of a bundle that this node has not seen, too.
CREATE TABLE bundle_veto (
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    node       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    statement  BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (digest, node)
) STRICT, WITHOUT ROWID;

-- The bundle that decides; `signed` is 0 for a directory, which only development has. Asked before every vote.
CREATE TABLE bundle_active (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    digest  BLOB    NOT NULL CHECK (length(digest) = 32),
    signed  INTEGER NOT NULL CHECK (signed IN (0, 1))
) STRICT;
