-- The ids of subjects that were deleted or merged into others. Results that were on their way at a deletion are stored after it, so a
-- task forgets the ids of deleted ones again and again until none can come any more. A merged id is forgotten with the subject that
-- stays.

CREATE TABLE face_former_subjects (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    -- The subject that stays; NULL if it was not merged.
    merged_into UUID,
    -- NULL as long as the subject that stays is not deleted.
    deleted_at TIMESTAMPTZ,
    -- When the task forgets it next.
    next_at TIMESTAMPTZ,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX face_former_subjects_by_merge ON face_former_subjects (tenant, merged_into, id);
CREATE INDEX face_former_subjects_by_time ON face_former_subjects (next_at);
