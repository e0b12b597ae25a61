-- What a client has taken back, in its own words. Kept with the request for ever; asked for before every vote and release.
CREATE TABLE cancellation (
    tenant     TEXT    NOT NULL,
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    envelope   BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, request)
) STRICT, WITHOUT ROWID;
