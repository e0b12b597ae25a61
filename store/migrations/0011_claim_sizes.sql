-- Pieces of lines by size as well. What overlaps a piece begins no further before it than the longest piece of its size, and
-- few of one size do: a look at the primary key finds them however many claims a line holds, and where one of them is as
-- long as the line too. Pieces from before this table are of size 32, which is any; they are gone when their window is.
CREATE TABLE claim_by_size (
    line      BLOB    NOT NULL CHECK (length(line) = 32),
    size      INTEGER NOT NULL CHECK (size BETWEEN 0 AND 32),
    from_unit BLOB    NOT NULL CHECK (length(from_unit) = 16),
    to_unit   BLOB    NOT NULL CHECK (length(to_unit) = 16 AND to_unit > from_unit),
    tenant    TEXT    NOT NULL,
    request   BLOB    NOT NULL CHECK (length(request) = 16),
    nth       INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL CHECK (last >= first),
    PRIMARY KEY (line, size, from_unit, tenant, request, nth)
) STRICT, WITHOUT ROWID;
INSERT INTO claim_by_size SELECT line, 32, from_unit, to_unit, tenant, request, nth, first, last FROM claim;
DROP TABLE claim;
ALTER TABLE claim_by_size RENAME TO claim;
CREATE INDEX claim_by_request ON claim (tenant, request, line);
CREATE INDEX claim_by_age ON claim (line, last);

-- The sizes of the pieces that were ever voted for, as a sum of powers of two; and what all requests hold, of each its
-- largest claim, as an unsigned number of 24 big-endian bytes. NULL is not summed up yet.
CREATE TABLE line_with_sums (
    line      BLOB    NOT NULL PRIMARY KEY CHECK (length(line) = 32),
    forgotten INTEGER NOT NULL,
    sizes     INTEGER NOT NULL,
    held      BLOB             CHECK (length(held) = 24)
) STRICT, WITHOUT ROWID;
INSERT INTO line_with_sums SELECT line, forgotten, 1 << 32, NULL FROM line;
DROP TABLE line;
ALTER TABLE line_with_sums RENAME TO line;
