-- Freezes, of this node and of others. `key` is NULL where everything is frozen. One that a majority has lifted stays here
-- for ever, without what it was, so that its statement freezes nothing when it is shown again.
CREATE TABLE freeze (
    node       TEXT    NOT NULL,
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    key        TEXT,
    statement  BLOB,
    lifted_by  BLOB,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (node, id),
    CHECK ((statement IS NULL) = (lifted_by IS NOT NULL)),
    CHECK (key IS NULL OR statement IS NOT NULL)
) STRICT, WITHOUT ROWID;
-- Asked before every vote, release and completion.
CREATE INDEX freeze_in_force ON freeze (key) WHERE lifted_by IS NULL;

-- What lifted them: the words of a majority. `intent` is the digest of the client's intent that asked for it.
CREATE TABLE unfreeze (
    intent      BLOB    NOT NULL PRIMARY KEY CHECK (length(intent) = 32),
    certificate BLOB    NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
