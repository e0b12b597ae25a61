-- Requests that wait for persons, and those that a person has rejected, until their intents expire. `intent` is the encoded
-- envelope; `owner` the node that the client asked; `bundle` and `summary` what this node has looked at last.
CREATE TABLE waiting (
    tenant     TEXT    NOT NULL,
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    intent     BLOB    NOT NULL,
    owner      TEXT    NOT NULL,
    bundle     BLOB    NOT NULL CHECK (length(bundle) = 32),
    summary    BLOB    NOT NULL CHECK (length(summary) = 32),
    expires_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, request)
) STRICT, WITHOUT ROWID;

-- What persons have said: 1 = approved, 2 = rejected. Kept with the request for ever; a rejection is asked for before every
-- vote and release.
CREATE TABLE approval (
    tenant     TEXT    NOT NULL,
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    person     TEXT    NOT NULL,
    verdict    INTEGER NOT NULL CHECK (verdict IN (1, 2)),
    envelope   BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, request, person, verdict)
) STRICT, WITHOUT ROWID;
