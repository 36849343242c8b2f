-- Whether a sign-in asked for fewer scopes than every user may have. A scope that is new later does not change the answer. NULL for a
-- session that an older program opened after this step.
ALTER TABLE sessions ADD COLUMN narrowed INTEGER;
UPDATE sessions
SET narrowed = scopes NOT LIKE 'frames:write detections:read alerts:read rules:write faces:write faces:read%';
