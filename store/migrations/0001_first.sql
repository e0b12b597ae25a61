-- One row a request, in the order in which this node first saw them. `result` is set once and for ever.
CREATE TABLE request (
    seq           INTEGER PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    request       BLOB    NOT NULL CHECK (length(request) = 16),
    intent_digest BLOB    NOT NULL CHECK (length(intent_digest) = 32),
    client        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    action        INTEGER NOT NULL,
    claimed_at    INTEGER NOT NULL,
    refused       TEXT,
    result        BLOB,
    updated_at    INTEGER NOT NULL,
    UNIQUE (tenant, request),
    CHECK (result IS NULL OR refused IS NULL)
) STRICT;
CREATE INDEX request_by_tenant ON request (tenant, seq);

-- One row an attempt. The checks repeat what the writer asks for: a release needs a vote, and excludes an abandonment.
CREATE TABLE attempt (
    tenant      TEXT    NOT NULL,
    request     BLOB    NOT NULL CHECK (length(request) = 16),
    attempt     INTEGER NOT NULL,
    statement   BLOB,
    body        BLOB,
    partial     BLOB,
    certificate BLOB,
    abandoned   BLOB,
    PRIMARY KEY (tenant, request, attempt),
    CHECK ((statement IS NULL) = (body IS NULL)),
    CHECK ((partial IS NULL) = (certificate IS NULL)),
    CHECK (partial IS NULL OR statement IS NOT NULL),
    CHECK (partial IS NULL OR abandoned IS NULL),
    CHECK (statement IS NOT NULL OR abandoned IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    name         TEXT    NOT NULL PRIMARY KEY,
    request      BLOB    NOT NULL CHECK (length(request) = 16),
    record       BLOB    NOT NULL,
    sealed_share BLOB    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'active')),
    certificate  BLOB,
    updated_at   INTEGER NOT NULL,
    CHECK ((state = 'active') = (certificate IS NOT NULL))
) STRICT;

CREATE TABLE ban (
    key   TEXT    NOT NULL,
    epoch INTEGER NOT NULL,
    peer  TEXT    NOT NULL,
    what  TEXT    NOT NULL,
    PRIMARY KEY (key, epoch, peer)
) STRICT, WITHOUT ROWID;

-- `peers` are node names with commas between them; no node name has a comma.
CREATE TABLE pending_check (
    session BLOB    NOT NULL PRIMARY KEY CHECK (length(session) = 32),
    key     TEXT    NOT NULL,
    epoch   INTEGER NOT NULL,
    peers   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- The node's own starts are in the row with an empty name; no node has an empty name.
CREATE TABLE incarnation (
    node  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What peers have shown of their logs. A fenced one has shown less than before.
CREATE TABLE peer_head (
    node   TEXT    NOT NULL PRIMARY KEY,
    size   INTEGER NOT NULL,
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    fenced INTEGER NOT NULL DEFAULT 0 CHECK (fenced IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    id       INTEGER PRIMARY KEY CHECK (id = 0),
    size     INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    frontier BLOB    NOT NULL
) STRICT;

-- The log: dense from 0, and append-only whoever writes. The insert trigger also stops INSERT OR REPLACE, which would
-- delete without firing the delete trigger.
CREATE TABLE log (
    idx  INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL
) STRICT;
CREATE TRIGGER log_is_dense BEFORE INSERT ON log
WHEN NEW.idx <> (SELECT COALESCE(MAX(idx) + 1, 0) FROM log)
BEGIN SELECT RAISE(ABORT, 'the log has no gaps and is never overwritten'); END;
CREATE TRIGGER log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_never_cut BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
