-- Versions of the KEKs whose home this node is, dense from 1. `destroy_at` is there while a destruction is pending. Nothing
-- leads back from a destruction that has begun, whoever writes.
CREATE TABLE kek_version (
    kek         TEXT    NOT NULL REFERENCES hsm_key (name),
    number      INTEGER NOT NULL CHECK (number > 0),
    id          BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    check_value BLOB    NOT NULL CHECK (length(check_value) = 3),
    transfer    BLOB,
    state       TEXT    NOT NULL CHECK (state IN ('enabled', 'disabled', 'pending-destruction', 'destroying', 'destroyed')),
    destroy_at  INTEGER,
    made_at     INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    wraps       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kek, number),
    CHECK ((state = 'pending-destruction') = (destroy_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER kek_version_stays_destroyed BEFORE UPDATE ON kek_version
WHEN (OLD.state = 'destroyed' AND NEW.state <> 'destroyed')
  OR (OLD.state = 'destroying' AND NEW.state NOT IN ('destroying', 'destroyed'))
BEGIN SELECT RAISE(ABORT, 'a destroyed version does not come back'); END;
CREATE TRIGGER kek_version_is_never_forgotten BEFORE DELETE ON kek_version
BEGIN SELECT RAISE(ABORT, 'a version is never forgotten'); END;
