-- Photographs that verify users: whom the first one enrolled, and the outcome of each.

-- The subject of a user's own face, in the user's tenant. It ends with the subject; the next photograph then enrols another one.
CREATE TABLE user_faces (
    user_id UUID PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    subject UUID NOT NULL,
    verified_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX user_faces_by_subject ON user_faces (subject);

-- A message that is delivered again finds its outcome here.
CREATE TABLE face_upload_outcomes (
    -- The place of the message on the log.
    topic_id TEXT NOT NULL,
    log_partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    -- NULL if no user has the name.
    user_id UUID REFERENCES users ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    -- SHA-256 of user and path, by which a second copy of the message is known.
    message BYTEA NOT NULL,
    -- Which file it was: inode, time of its last change, and size. NULL without a file.
    file TEXT,
    decided_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
);
CREATE INDEX face_upload_outcomes_by_message ON face_upload_outcomes (message, file);
CREATE INDEX face_upload_outcomes_by_user ON face_upload_outcomes (user_id);
CREATE INDEX face_upload_outcomes_by_time ON face_upload_outcomes (decided_at);

-- How many processes began to decide an upload that has no outcome, so that an image that ends each of them is given up.
CREATE TABLE face_upload_attempts (
    topic_id TEXT NOT NULL,
    log_partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    began_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
);
CREATE INDEX face_upload_attempts_by_time ON face_upload_attempts (began_at);
