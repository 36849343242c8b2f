-- The tenants of deleted users. Frames that were on their way at a deletion are processed after it, so a task erases what they leave again
-- and again until nothing can come any more.

CREATE TABLE deleted_tenants (
    -- The id of the user, whose row is gone.
    deleted_user TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    -- When the task erases it next.
    next_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_tenants_by_time ON deleted_tenants (next_at);
