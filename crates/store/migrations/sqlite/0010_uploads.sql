-- Photographs that verify users: whom the first one enrolled, and the outcome of each.

-- The subject of a user's own face, in the user's tenant. It ends with the subject; the next photograph then enrols another one.
CREATE TABLE user_faces (
    user_id TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    subject TEXT NOT NULL,
    verified_at INTEGER NOT NULL
) STRICT;
CREATE INDEX user_faces_by_subject ON user_faces (subject);

-- A message that is delivered again finds its outcome here.
CREATE TABLE face_upload_outcomes (
    -- The place of the message on the log.
    topic_id TEXT NOT NULL,
    log_partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    -- NULL if no user has the name.
    user_id TEXT REFERENCES users ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    -- SHA-256 of user and path, by which a second copy of the message is known.
    message BLOB NOT NULL,
    -- Which file it was: inode, time of its last change, and size. NULL without a file.
    file TEXT,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
) STRICT;
CREATE INDEX face_upload_outcomes_by_message ON face_upload_outcomes (message, file);
CREATE INDEX face_upload_outcomes_by_user ON face_upload_outcomes (user_id);
CREATE INDEX face_upload_outcomes_by_time ON face_upload_outcomes (decided_at);

-- How many processes began to decide an upload that has no outcome, so that an image that ends each of them is given up.
CREATE TABLE face_upload_attempts (
    topic_id TEXT NOT NULL,
    log_partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    began_at INTEGER NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
) STRICT;
CREATE INDEX face_upload_attempts_by_time ON face_upload_attempts (began_at);
