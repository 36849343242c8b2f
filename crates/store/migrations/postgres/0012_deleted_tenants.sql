-- The tenants of deleted users. Frames that were on their way at a deletion are processed after it, so a task erases what they leave again
-- and again until nothing can come any more.

CREATE TABLE deleted_tenants (
    -- The id of the user, whose row is gone.
    deleted_user UUID PRIMARY KEY,
    tenant TEXT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL,
    -- When the task erases it next.
    next_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX deleted_tenants_by_time ON deleted_tenants (next_at);
