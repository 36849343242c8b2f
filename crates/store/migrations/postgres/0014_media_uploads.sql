-- Resumable uploads of media files: how far each is, and the parts that the media store has of it.

CREATE TABLE media_uploads (
    id UUID PRIMARY KEY,
    -- No reference to the book: the row is what knows of the parts, so it outlives the book until they are deleted.
    book UUID NOT NULL,
    -- The user who began it; NULL after the end of that user.
    owner UUID REFERENCES users ON DELETE SET NULL,
    kind TEXT NOT NULL,
    -- The object that the file becomes.
    object_key TEXT NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    file_name TEXT,
    -- Length of the file. NULL while it is not known.
    length BIGINT,
    -- Number of durable bytes: those of the parts, and those of the tail.
    received BIGINT NOT NULL,
    -- Number of bytes after the last part, and the writer that stored them.
    tail_bytes BIGINT NOT NULL,
    tail_writer BIGINT,
    -- Number of parts, and the highest number that one of them has or a writer may be using.
    parts BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    -- State of a hash after the last part; empty before it.
    hash_state BYTEA NOT NULL,
    -- Id of the unfinished object in the media store. NULL before the first part.
    multipart_id TEXT,
    -- The writer that took it last. What an earlier one records is refused.
    writer BIGINT NOT NULL,
    -- open or complete.
    state TEXT NOT NULL,
    -- SHA-256 of the object; empty while it is open.
    sha256 BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX media_uploads_by_book ON media_uploads (book, created_at);
CREATE INDEX media_uploads_by_owner ON media_uploads (owner);
CREATE INDEX media_uploads_by_expiry ON media_uploads (expires_at);

CREATE TABLE media_upload_parts (
    upload UUID NOT NULL REFERENCES media_uploads ON DELETE CASCADE,
    number BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- What the media store calls its content.
    tag TEXT NOT NULL,
    PRIMARY KEY (upload, number)
);
