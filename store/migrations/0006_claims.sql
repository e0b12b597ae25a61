-- Pieces of limits' lines that this node has voted for, until nothing that it may still vote for can meet them. Units are
-- unsigned 128-bit numbers as 16 big-endian bytes, which SQLite compares as numbers are compared. `nth` counts a request's
-- claims on a line; `first` and `last` are the times at which it was issued.
CREATE TABLE claim (
    line      BLOB    NOT NULL CHECK (length(line) = 32),
    from_unit BLOB    NOT NULL CHECK (length(from_unit) = 16),
    to_unit   BLOB    NOT NULL CHECK (length(to_unit) = 16 AND to_unit > from_unit),
    tenant    TEXT    NOT NULL,
    request   BLOB    NOT NULL CHECK (length(request) = 16),
    nth       INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL CHECK (last >= first),
    PRIMARY KEY (line, from_unit, tenant, request, nth)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_by_request ON claim (tenant, request, line);
CREATE INDEX claim_by_age ON claim (line, last);

-- Claims last issued before `forgotten` may be gone. `longest` is the longest piece that was ever voted for: what overlaps
-- a piece cannot begin further before it, so a look at the primary key finds it without reading the whole line.
CREATE TABLE line (
    line      BLOB    NOT NULL PRIMARY KEY CHECK (length(line) = 32),
    forgotten INTEGER NOT NULL,
    longest   BLOB    NOT NULL CHECK (length(longest) = 16)
) STRICT, WITHOUT ROWID;
