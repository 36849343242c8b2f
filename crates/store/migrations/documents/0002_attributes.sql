-- Attributes of a detection beside the vehicle's four, as a JSON object; NULL where there are none. Only detections that have
-- some are in the index.

ALTER TABLE detections ADD COLUMN attributes TEXT;
CREATE INDEX detections_by_attributes ON detections (tenant, at, id) WHERE attributes IS NOT NULL;
