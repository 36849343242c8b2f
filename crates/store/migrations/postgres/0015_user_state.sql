-- The e-mail address that a reset mail or an OpenID provider proved. It counts only while the user still has it, so an older program,
-- which does not know the column, cannot make a new address count as proven.
ALTER TABLE users ADD COLUMN verified_email TEXT;
-- The last change of names, address, password, role or limits; NULL without one since this step.
ALTER TABLE users ADD COLUMN updated_at TIMESTAMPTZ;
