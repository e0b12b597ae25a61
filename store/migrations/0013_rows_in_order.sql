-- What there is of each request stands in the order in which it came, and is found by an index of small entries: a row with
-- its blobs in a clustered tree took nearly two of its size, and each vote and release read and wrote a page that nobody had
-- touched for long. The checks of an attempt repeat what the writer asks for: a release needs a vote, and excludes an
-- abandonment.
CREATE TABLE attempt_in_order (
    seq         INTEGER PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    request     BLOB    NOT NULL CHECK (length(request) = 16),
    attempt     INTEGER NOT NULL,
    statement   BLOB,
    body        BLOB,
    partial     BLOB,
    certificate BLOB,
    abandoned   BLOB,
    CHECK ((statement IS NULL) = (body IS NULL)),
    CHECK ((partial IS NULL) = (certificate IS NULL)),
    CHECK (partial IS NULL OR statement IS NOT NULL),
    CHECK (partial IS NULL OR abandoned IS NULL),
    CHECK (statement IS NOT NULL OR abandoned IS NOT NULL)
) STRICT;
INSERT INTO attempt_in_order (tenant, request, attempt, statement, body, partial, certificate, abandoned)
    SELECT tenant, request, attempt, statement, body, partial, certificate, abandoned FROM attempt;
DROP TABLE attempt;
ALTER TABLE attempt_in_order RENAME TO attempt;
CREATE UNIQUE INDEX attempt_by_request ON attempt (tenant, request, attempt);

CREATE TABLE approval_in_order (
    seq        INTEGER PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    person     TEXT    NOT NULL,
    verdict    INTEGER NOT NULL CHECK (verdict IN (1, 2)),
    envelope   BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
INSERT INTO approval_in_order (tenant, request, person, verdict, envelope, updated_at)
    SELECT tenant, request, person, verdict, envelope, updated_at FROM approval ORDER BY updated_at;
DROP TABLE approval;
ALTER TABLE approval_in_order RENAME TO approval;
CREATE UNIQUE INDEX approval_by_request ON approval (tenant, request, person, verdict);

CREATE TABLE cancellation_in_order (
    seq        INTEGER PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    request    BLOB    NOT NULL CHECK (length(request) = 16),
    envelope   BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
INSERT INTO cancellation_in_order (tenant, request, envelope, updated_at)
    SELECT tenant, request, envelope, updated_at FROM cancellation ORDER BY updated_at;
DROP TABLE cancellation;
ALTER TABLE cancellation_in_order RENAME TO cancellation;
CREATE UNIQUE INDEX cancellation_by_request ON cancellation (tenant, request);
