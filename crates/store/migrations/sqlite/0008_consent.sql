-- The consent of a subject to the use of its face: when it was given, until when it holds, and what names it elsewhere.

ALTER TABLE face_subjects ADD COLUMN consent_given_at INTEGER;
ALTER TABLE face_subjects ADD COLUMN consent_until INTEGER;
ALTER TABLE face_subjects ADD COLUMN consent_reference TEXT;
-- When the vectors are erased because it ends; NULL without an end, and after that.
ALTER TABLE face_subjects ADD COLUMN consent_ends_at INTEGER;
CREATE INDEX face_subjects_by_consent ON face_subjects (consent_ends_at) WHERE consent_ends_at IS NOT NULL;
