-- The latest outcome of a user is read by this index alone, however many photographs the user has sent.
CREATE INDEX face_upload_outcomes_by_user_and_time ON face_upload_outcomes (user_id, decided_at, log_offset);
