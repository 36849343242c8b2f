-- The model that compares faces, for all tenants, and the one to which it is being changed. No row: the model that models.yaml prefers.

CREATE TABLE face_models (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    active TEXT NOT NULL,
    -- NULL if it is not being changed.
    target TEXT,
    -- Whether it changes also if subjects have no face for the target.
    without_missing BOOLEAN NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    -- The process that makes the vectors of the target, and until when no other one does.
    worker UUID,
    worker_until TIMESTAMPTZ
);

-- Vectors that the target cannot have, by the id of that of the active model, and why.
CREATE TABLE face_model_gaps (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id UUID NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, model, id)
);
CREATE INDEX face_model_gaps_by_model ON face_model_gaps (model, tenant, id);

-- What a vector was made of: of an enrolled face the key of its kept image, of a negative the id of its detection. NULL if that is not
-- known. The vectors of one face have the same id for all models.
ALTER TABLE face_vectors ADD COLUMN source TEXT;
