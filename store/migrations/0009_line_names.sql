-- What lines are called, for people: the limit, and the values that it counts separately for.
CREATE TABLE line_name (
    line     BLOB NOT NULL PRIMARY KEY CHECK (length(line) = 32),
    limit_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE line_field (
    line  BLOB    NOT NULL REFERENCES line_name (line),
    nth   INTEGER NOT NULL,
    field TEXT    NOT NULL,
    value TEXT    NOT NULL,
    PRIMARY KEY (line, nth)
) STRICT, WITHOUT ROWID;
