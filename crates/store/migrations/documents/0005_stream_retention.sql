-- Streams have a retention of their own, in days; NULL for that of the service.

ALTER TABLE streams ADD COLUMN retention_days INTEGER;
CREATE INDEX streams_by_retention ON streams (tenant, name) WHERE retention_days IS NOT NULL;
