-- Keys that live in an HSM, this node's own and those of others. A name belongs to one record for ever; no name is in this
-- table and in `key`. `intent` is the client's signed wish; `certificate` is there once a majority of nodes has signed.
CREATE TABLE hsm_key (
    name        TEXT    NOT NULL PRIMARY KEY,
    record      BLOB    NOT NULL,
    intent      BLOB    NOT NULL,
    certificate BLOB,
    updated_at  INTEGER NOT NULL
) STRICT;
