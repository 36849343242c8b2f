-- Enrolled faces: the subjects of each tenant, and the vectors of their faces for each model. A name is here alone.

CREATE TABLE face_subjects (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    -- The id that the owner's own system has for the person.
    external_id TEXT,
    name TEXT,
    -- A JSON object.
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- When it was changed, or vectors were added to it.
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, external_id)
) STRICT;
CREATE INDEX face_subjects_by_creation ON face_subjects (tenant, created_at, id);

-- The vectors of a tenant for a model, together. A writer locks this row until its transaction ends, so versions appear in
-- their order, and a reader that has read up to one has missed none before it.
CREATE TABLE face_galleries (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    -- Numbers of each vector.
    dimensions INTEGER NOT NULL CHECK (dimensions > 0),
    version INTEGER NOT NULL,
    vectors INTEGER NOT NULL CHECK (vectors >= 0),
    -- Subjects with an enrolled vector.
    subjects INTEGER NOT NULL CHECK (subjects >= 0),
    -- Removals up to this version are no longer known.
    removals_known_after INTEGER NOT NULL,
    PRIMARY KEY (tenant, model)
) STRICT;

-- The highest version of all galleries that were deleted. New ones begin after it, so no version returns.
CREATE TABLE face_deleted_galleries (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO face_deleted_galleries (id, version) VALUES (1, 0);

-- One table for all models, because a model is a name in the operator's configuration. Without a reference to the subject: the check of a
-- deleted subject would need one more index. A transaction that adds a vector locks its subject, and so does one that deletes the subject.
CREATE TABLE face_vectors (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('enrolled', 'negative')),
    -- Of the gallery, by the last change of this vector.
    version INTEGER NOT NULL,
    -- Each number as a 32-bit float, little-endian.
    vector BLOB NOT NULL,
    PRIMARY KEY (tenant, model, id)
) STRICT;
CREATE INDEX face_vectors_by_version ON face_vectors (tenant, model, version, id);
CREATE INDEX face_vectors_by_subject ON face_vectors (tenant, model, subject, id);

-- Which vectors were removed, for readers that have them in memory.
CREATE TABLE face_vector_removals (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, model, id)
) STRICT;
CREATE INDEX face_vector_removals_by_version ON face_vector_removals (tenant, model, version, id);
CREATE INDEX face_vector_removals_by_time ON face_vector_removals (removed_at);
