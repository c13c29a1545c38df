"""The tables of the catalogue.

An id is the first 63 bits of a digest: of a source for pictures, of a name for articles. Two digests that share them
would share a row; with a million sources the odds are one in ten million, and the rows are not the truth.

    picture    one row for each entry file; `source` is empty if the entry cannot be read
    version    which bodies entries name, the current ones and the history
    use        which article shows which source, and in which lines
    shown      one row for each source that an article shows. missing: 1 if it is not kept, given up or not
    lack       how many missing rows of `shown` have each reason, because counting them takes long; kept by triggers, so
               that it is right whoever writes
    failure    the last failure of a source, and when the first of its row of failures was. origin: the id of its
               origin. stamp, origin_stamp: those under which the origin was asked
    block      the sources refused for good
    article    one row for each record of an article. missing: how many of its pictures are; kept by triggers, because
               counting them for each article of a list takes long
    compared   which parts of the store were compared with the files since the machine started
    total      the number of rows of `picture`, because counting a million takes a second
    fact       single facts: since which start of the machine, and with which folder, `compared` is true;
               which times the last purge by time named

The words of `address` are merged when 16 parts of a size have come together, not 4: a search reads a few parts more,
and the row of a picture costs a tenth less.
"""

from __future__ import annotations

VERSION = 4
"""Part of the name of the database: a program with other tables makes a database of its own."""

SCHEMA = """
CREATE TABLE picture (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, stamp TEXT NOT NULL, entry_bytes INTEGER NOT NULL,
    source TEXT NOT NULL, origin TEXT NOT NULL, sha256 BLOB NOT NULL, size INTEGER NOT NULL,
    media_type TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    fetched_at REAL NOT NULL, validated_at REAL NOT NULL, versions INTEGER NOT NULL, set_aside INTEGER NOT NULL,
    damaged INTEGER NOT NULL, recovered INTEGER NOT NULL, failing INTEGER NOT NULL, blocked INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0, used_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX picture_source ON picture (source);
CREATE INDEX picture_origin ON picture (origin, size);
CREATE INDEX picture_size ON picture (size);
CREATE INDEX picture_fetched_at ON picture (fetched_at);
CREATE INDEX picture_uses ON picture (uses);
CREATE INDEX picture_damaged ON picture (id) WHERE damaged;
CREATE INDEX picture_recovered ON picture (id) WHERE recovered;
CREATE INDEX picture_failing ON picture (id) WHERE failing;
CREATE INDEX picture_blocked ON picture (id) WHERE blocked;
CREATE INDEX picture_versions ON picture (id) WHERE versions;
CREATE INDEX picture_set_aside ON picture (id) WHERE set_aside;
CREATE INDEX picture_unreadable ON picture (id) WHERE source = '';
CREATE VIRTUAL TABLE address USING fts5 (source, content = '', detail = none, tokenize = 'trigram');
INSERT INTO address (address, rank) VALUES ('automerge', 16);

CREATE TABLE version (
    sha256 BLOB NOT NULL, picture INTEGER NOT NULL, size INTEGER NOT NULL, is_current INTEGER NOT NULL,
    PRIMARY KEY (sha256, picture)
) WITHOUT ROWID;
CREATE INDEX version_picture ON version (picture);

CREATE TABLE article (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL, stamp TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL,
    date REAL, pictures INTEGER NOT NULL, missing INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX article_name ON article (name);
CREATE INDEX article_missing ON article (name) WHERE missing;

CREATE TABLE use (
    article INTEGER NOT NULL, picture INTEGER NOT NULL, lines TEXT NOT NULL, PRIMARY KEY (article, picture)
) WITHOUT ROWID;
CREATE INDEX use_picture ON use (picture, article);

CREATE TABLE shown (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, missing INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX shown_missing ON shown (source) WHERE missing;
CREATE INDEX shown_reason ON shown (reason, source) WHERE missing;

CREATE TABLE lack (reason TEXT PRIMARY KEY, pictures INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER shown_comes AFTER INSERT ON shown WHEN NEW.missing BEGIN
    INSERT INTO lack VALUES (NEW.reason, 1) ON CONFLICT (reason) DO UPDATE SET pictures = pictures + 1;
END;
CREATE TRIGGER shown_goes AFTER DELETE ON shown WHEN OLD.missing BEGIN
    UPDATE lack SET pictures = pictures - 1 WHERE reason = OLD.reason;
END;
CREATE TRIGGER shown_changes AFTER UPDATE ON shown WHEN (OLD.missing, OLD.reason) != (NEW.missing, NEW.reason) BEGIN
    UPDATE lack SET pictures = pictures - OLD.missing WHERE reason = OLD.reason;
    INSERT INTO lack VALUES (NEW.reason, NEW.missing)
        ON CONFLICT (reason) DO UPDATE SET pictures = pictures + NEW.missing;
END;

CREATE TRIGGER shown_misses AFTER UPDATE OF missing ON shown WHEN OLD.missing != NEW.missing BEGIN
    UPDATE article SET missing = missing + NEW.missing - OLD.missing
        WHERE id IN (SELECT article FROM use WHERE picture = NEW.id);
END;
CREATE TRIGGER use_comes AFTER INSERT ON use BEGIN
    UPDATE article SET missing = missing + 1
        WHERE id = NEW.article AND EXISTS (SELECT 1 FROM shown WHERE id = NEW.picture AND shown.missing);
END;
CREATE TRIGGER use_goes AFTER DELETE ON use BEGIN
    UPDATE article SET missing = missing - 1
        WHERE id = OLD.article AND EXISTS (SELECT 1 FROM shown WHERE id = OLD.picture AND shown.missing);
END;

CREATE TABLE failure (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status INTEGER NOT NULL, count INTEGER NOT NULL,
    first_at REAL NOT NULL, last_at REAL NOT NULL,
    stamp INTEGER NOT NULL, origin INTEGER NOT NULL, origin_stamp INTEGER NOT NULL
);
CREATE INDEX failure_last_at ON failure (last_at);
CREATE INDEX failure_origin ON failure (origin);

CREATE TABLE block (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, stamp TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL
);

CREATE TABLE compared (kind TEXT NOT NULL, shard TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (kind, shard));
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE total (pictures INTEGER NOT NULL);
INSERT INTO total VALUES (0);
"""


def row_id(digest: str) -> int:
    """Return the id of a row. It grows with the digest, so the digests of a shard have neighbouring ids."""
    return int(digest[:16], 16) >> 1


def ids_of_shard(shard: str) -> tuple[int, int]:
    """Return the first id and the last id of a shard."""
    first = int(shard, 16)
    return first << 55, ((first + 1) << 55) - 1
