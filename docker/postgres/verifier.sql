-- A role for a service that only verifies credentials, such as alert-stream. It can read neither private keys nor password
-- hashes. Run this as the owner of the tables, again after each migration, and give the role a password.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sightline_verifier') THEN
        CREATE ROLE sightline_verifier LOGIN;
    END IF;
END
$$;
GRANT SELECT ON sightline_schema, revocation_sequence, revocations TO sightline_verifier;
GRANT SELECT (id, tenant, username, email, full_name, role, quota, rate_limit, disabled, created_at, last_sign_in_at)
    ON users TO sightline_verifier;
GRANT SELECT, UPDATE (last_used_at) ON api_tokens TO sightline_verifier;
GRANT SELECT (kid, public_key, signs_from, verifies_until) ON signing_keys TO sightline_verifier;
