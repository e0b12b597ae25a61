-- Token domains. A record never changes, and a deleted domain keeps its name: nothing may come to life under it again.
-- Reuse: 1 random, 2 per domain, 3 per subject. State: 1 active, 2 suspended, 3 deleted.
CREATE TABLE token_domain (
    id         INTEGER PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    record     BLOB    NOT NULL,
    home       TEXT    NOT NULL,
    reuse      INTEGER NOT NULL CHECK (reuse IN (1, 2, 3)),
    state      INTEGER NOT NULL CHECK (state IN (1, 2, 3)),
    made_at    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;
CREATE TRIGGER token_domain_stays_what_it_is BEFORE UPDATE ON token_domain
WHEN NEW.record <> OLD.record OR NEW.home <> OLD.home OR NEW.reuse <> OLD.reuse
  OR NEW.tenant <> OLD.tenant OR NEW.name <> OLD.name OR (OLD.state = 3 AND NEW.state <> 3)
BEGIN SELECT RAISE(ABORT, 'a token domain never changes, and a deleted one does not come back'); END;
CREATE TRIGGER token_domain_is_never_forgotten BEFORE DELETE ON token_domain
BEGIN SELECT RAISE(ABORT, 'a token domain is never forgotten'); END;

-- Versions of a domain's data key, under a KEK. State: 2 current, 3 previous, 4 destroyed. `sealed` counts encryptions,
-- `tokens` the rows under it; the triggers below keep both, whoever writes.
CREATE TABLE data_key (
    domain      INTEGER NOT NULL REFERENCES token_domain (id),
    number      INTEGER NOT NULL CHECK (number > 0),
    state       INTEGER NOT NULL CHECK (state IN (2, 3, 4)),
    kek         TEXT,
    kek_version INTEGER,
    wrapped     BLOB,
    sealed      INTEGER NOT NULL DEFAULT 0 CHECK (sealed >= 0),
    tokens      INTEGER NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    made_at     INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (domain, number),
    CHECK ((state = 4) = (wrapped IS NULL)),
    CHECK ((wrapped IS NULL) = (kek IS NULL) AND (kek IS NULL) = (kek_version IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX data_key_current ON data_key (domain) WHERE state = 2;
CREATE INDEX data_key_by_kek ON data_key (kek, kek_version) WHERE kek IS NOT NULL;
CREATE TRIGGER data_key_stays_destroyed BEFORE UPDATE ON data_key
WHEN OLD.state = 4 AND NEW.state <> 4
BEGIN SELECT RAISE(ABORT, 'a destroyed data key does not come back'); END;

-- Versions of a domain's blind-index key, by their names on the HSM. State: 1 filling, 2 current, 3 previous, 4 destroyed.
CREATE TABLE index_key (
    domain     INTEGER NOT NULL REFERENCES token_domain (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    state      INTEGER NOT NULL CHECK (state IN (1, 2, 3, 4)),
    object     BLOB    NOT NULL CHECK (length(object) = 16),
    made_at    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX index_key_current ON index_key (domain) WHERE state = 2;
CREATE UNIQUE INDEX index_key_filling ON index_key (domain) WHERE state = 1;

CREATE TABLE token_subject (
    id     INTEGER PRIMARY KEY,
    domain INTEGER NOT NULL REFERENCES token_domain (id),
    name   TEXT    NOT NULL,
    UNIQUE (domain, name)
) STRICT;

-- Tokens. State: 1 active, 2 suspended, 3 shredded. A shredded one keeps its name, so that it is never issued again, and
-- nothing else. One that cannot be revealed has nothing sealed.
CREATE TABLE token (
    domain     INTEGER NOT NULL REFERENCES token_domain (id),
    token      TEXT    NOT NULL,
    state      INTEGER NOT NULL CHECK (state IN (1, 2, 3)),
    data_key   INTEGER,
    iv         BLOB    CHECK (length(iv) = 12),
    sealed     BLOB,
    brand      INTEGER,
    bin        TEXT,
    last4      TEXT,
    digits     INTEGER,
    subject    INTEGER,
    expires_at INTEGER,
    uses_left  INTEGER CHECK (uses_left >= 0),
    made_at    INTEGER NOT NULL,
    PRIMARY KEY (domain, token),
    FOREIGN KEY (domain, data_key) REFERENCES data_key (domain, number),
    CHECK ((sealed IS NULL) = (iv IS NULL) AND (iv IS NULL) = (data_key IS NULL)),
    CHECK ((state = 3) = (bin IS NULL)),
    CHECK ((bin IS NULL) = (brand IS NULL) AND (brand IS NULL) = (last4 IS NULL) AND (last4 IS NULL) = (digits IS NULL)),
    CHECK (state <> 3 OR (sealed IS NULL AND subject IS NULL AND expires_at IS NULL AND uses_left IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX token_by_subject ON token (domain, subject) WHERE subject IS NOT NULL;
CREATE TRIGGER token_sealed AFTER INSERT ON token WHEN NEW.data_key IS NOT NULL
BEGIN
    UPDATE data_key SET tokens = tokens + 1, sealed = sealed + 1 WHERE domain = NEW.domain AND number = NEW.data_key;
END;
CREATE TRIGGER token_resealed AFTER UPDATE OF data_key, iv, sealed ON token WHEN NEW.iv IS NOT OLD.iv
BEGIN
    UPDATE data_key SET tokens = tokens - 1 WHERE domain = OLD.domain AND number = OLD.data_key;
    UPDATE data_key SET tokens = tokens + 1, sealed = sealed + 1 WHERE domain = NEW.domain AND number = NEW.data_key;
END;
CREATE TRIGGER token_gone AFTER DELETE ON token WHEN OLD.data_key IS NOT NULL
BEGIN
    UPDATE data_key SET tokens = tokens - 1 WHERE domain = OLD.domain AND number = OLD.data_key;
END;
CREATE TRIGGER token_stays_shredded BEFORE UPDATE ON token WHEN OLD.state = 3 AND NEW.state <> 3
BEGIN SELECT RAISE(ABORT, 'a shredded token does not come back'); END;

-- Fingerprints, away from BIN and last four (PCI DSS 3.5.1). `scope` is the subject in a domain that reuses tokens for each
-- subject, else 0. `draw` is 0 in a domain that reuses tokens, so a second one is refused, whoever writes; else it counts.
CREATE TABLE fingerprint (
    domain      INTEGER NOT NULL REFERENCES token_domain (id),
    token       TEXT    NOT NULL,
    index_key   INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    scope       INTEGER NOT NULL,
    draw        INTEGER NOT NULL,
    PRIMARY KEY (domain, token, index_key),
    UNIQUE (domain, index_key, fingerprint, scope, draw)
) STRICT, WITHOUT ROWID;

-- Tokens ever drawn of those that share their kept digits, for formats that have few of them.
CREATE TABLE token_bucket (
    domain INTEGER NOT NULL REFERENCES token_domain (id),
    name   TEXT    NOT NULL,
    drawn  INTEGER NOT NULL,
    PRIMARY KEY (domain, name)
) STRICT, WITHOUT ROWID;

-- The last rotation of each kind. What: 1 data key, 2 index key. State: 1 running, 2 paused, 3 finished.
CREATE TABLE rotation (
    domain     INTEGER NOT NULL REFERENCES token_domain (id),
    what       INTEGER NOT NULL CHECK (what IN (1, 2)),
    target     INTEGER NOT NULL,
    state      INTEGER NOT NULL CHECK (state IN (1, 2, 3)),
    after      TEXT,
    done       INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE token_import (
    domain     INTEGER NOT NULL REFERENCES token_domain (id),
    import     BLOB    NOT NULL CHECK (length(import) = 16),
    source     BLOB    NOT NULL CHECK (length(source) = 32),
    lines      INTEGER NOT NULL,
    rejected   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain, import)
) STRICT, WITHOUT ROWID;
