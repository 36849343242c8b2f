-- Resumable uploads of media files: how far each is, and the parts that the media store has of it.

CREATE TABLE media_uploads (
    id TEXT NOT NULL PRIMARY KEY,
    -- No reference to the book: the row is what knows of the parts, so it outlives the book until they are deleted.
    book TEXT NOT NULL,
    -- The user who began it; NULL after the end of that user.
    owner TEXT REFERENCES users ON DELETE SET NULL,
    kind TEXT NOT NULL,
    -- The object that the file becomes.
    object_key TEXT NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    file_name TEXT,
    -- Length of the file. NULL while it is not known.
    length INTEGER,
    -- Number of durable bytes: those of the parts, and those of the tail.
    received INTEGER NOT NULL,
    -- Number of bytes after the last part, and the writer that stored them.
    tail_bytes INTEGER NOT NULL,
    tail_writer INTEGER,
    -- Number of parts, and the highest number that one of them has or a writer may be using.
    parts INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    -- State of a hash after the last part; empty before it.
    hash_state BLOB NOT NULL,
    -- Id of the unfinished object in the media store. NULL before the first part.
    multipart_id TEXT,
    -- The writer that took it last. What an earlier one records is refused.
    writer INTEGER NOT NULL,
    -- open or complete.
    state TEXT NOT NULL,
    -- SHA-256 of the object; empty while it is open.
    sha256 BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX media_uploads_by_book ON media_uploads (book, created_at);
CREATE INDEX media_uploads_by_owner ON media_uploads (owner);
CREATE INDEX media_uploads_by_expiry ON media_uploads (expires_at);

CREATE TABLE media_upload_parts (
    upload TEXT NOT NULL REFERENCES media_uploads ON DELETE CASCADE,
    number INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- What the media store calls its content.
    tag TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT;
