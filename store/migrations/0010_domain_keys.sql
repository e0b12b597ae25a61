-- KEKs of token domains, each a key of its own on its home's token, dense from 1. Kind: 1 encrypts data keys that the node
-- may hold (KEK-E), 2 wraps data keys that stay in the token (KEK-W). State: 2 current, 3 previous, 4 destroyed.
CREATE TABLE domain_kek (
    domain     INTEGER NOT NULL REFERENCES token_domain (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    kind       INTEGER NOT NULL CHECK (kind IN (1, 2)),
    object     BLOB    NOT NULL UNIQUE CHECK (length(object) = 16),
    state      INTEGER NOT NULL CHECK (state IN (2, 3, 4)),
    made_at    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX domain_kek_current ON domain_kek (domain) WHERE state = 2;
CREATE TRIGGER domain_kek_stays_what_it_is BEFORE UPDATE ON domain_kek
WHEN NEW.kind <> OLD.kind OR NEW.object <> OLD.object OR (OLD.state = 4 AND NEW.state <> 4)
BEGIN SELECT RAISE(ABORT, 'a KEK stays what it is, and a destroyed one does not come back'); END;

-- Keys that the token is to destroy; a row goes when it has. Kind: as above, and 3 for a blind-index key.
CREATE TABLE doomed_key (
    object BLOB    NOT NULL PRIMARY KEY CHECK (length(object) = 16),
    kind   INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whether what the rotation leaves behind is destroyed at its end.
ALTER TABLE rotation ADD COLUMN shred INTEGER NOT NULL DEFAULT 0 CHECK (shred IN (0, 1));
