-- A role for a detector-worker that compares faces (SIGHTLINE_FACES_LIVE). It reads vectors and the ids of their subjects: no name, no
-- account, no credential. A worker decodes foreign images, so it should have no other role. Run this as the owner of the tables, again
-- after each migration, and give the role a password.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sightline_worker') THEN
        CREATE ROLE sightline_worker LOGIN;
    END IF;
END
$$;
GRANT SELECT ON sightline_schema, face_galleries, face_vectors, face_vector_removals, face_models TO sightline_worker;
-- Only where PostgreSQL has pgvector. A trigger with the owner's rights writes these values.
DO $$
BEGIN
    IF to_regclass('face_vector_values') IS NOT NULL THEN
        GRANT SELECT ON face_vector_values TO sightline_worker;
    END IF;
END
$$;
