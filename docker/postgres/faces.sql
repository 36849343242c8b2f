-- A role for the service `faces`: it verifies credentials as verifier.sql has it, and reads and writes subjects and vectors. It can read
-- neither private keys nor password hashes. Run this as the owner of the tables, again after each migration, and give the role a password.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sightline_faces') THEN
        CREATE ROLE sightline_faces LOGIN;
    END IF;
END
$$;
GRANT SELECT ON sightline_schema, revocation_sequence, revocations TO sightline_faces;
-- A new subject locks its user by an update that changes nothing, so that a user who is being deleted gets no further one.
-- The message of an upload names a user by name or address, in any spelling.
GRANT SELECT (id, tenant, username, username_folded, email, email_folded, full_name, role, quota, rate_limit, disabled, created_at, last_sign_in_at), UPDATE (last_sign_in_at)
    ON users TO sightline_faces;
GRANT SELECT, UPDATE (last_used_at) ON api_tokens TO sightline_faces;
GRANT SELECT (kid, public_key, signs_from, verifies_until) ON signing_keys TO sightline_faces;
GRANT SELECT, INSERT, UPDATE, DELETE ON face_subjects, face_former_subjects, face_vectors, face_vector_removals TO sightline_faces;
-- It erases what comes for the tenants of deleted users.
GRANT SELECT, UPDATE, DELETE ON deleted_tenants TO sightline_faces;
GRANT SELECT, INSERT, UPDATE, DELETE ON face_galleries, face_subject_counts TO sightline_faces;
GRANT SELECT, INSERT, UPDATE ON face_models TO sightline_faces;
GRANT SELECT, INSERT, DELETE ON face_model_gaps TO sightline_faces;
GRANT SELECT, UPDATE ON face_deleted_galleries TO sightline_faces;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_faces TO sightline_faces;
GRANT SELECT, INSERT ON face_upload_outcomes TO sightline_faces;
GRANT SELECT, INSERT, UPDATE, DELETE ON face_upload_attempts TO sightline_faces;
-- Only where PostgreSQL has pgvector. A trigger with the owner's rights writes these values.
DO $$
BEGIN
    IF to_regclass('face_vector_values') IS NOT NULL THEN
        GRANT SELECT ON face_vector_values TO sightline_faces;
    END IF;
END
$$;
