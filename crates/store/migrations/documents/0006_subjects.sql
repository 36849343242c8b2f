-- Subjects by their id, on detections and alerts: whoever is deleted is forgotten in both. `rejected` is whom a detection was taken
-- for before somebody rejected that, as a JSON object. It is in this column alone, so no answer has it.

ALTER TABLE detections ADD COLUMN rejected TEXT;
CREATE INDEX detections_by_subject ON detections (tenant, attributes ->> '$.subject') WHERE attributes ->> '$.subject' IS NOT NULL;
CREATE INDEX detections_by_rejected ON detections (tenant, rejected ->> '$.subject') WHERE rejected IS NOT NULL;
CREATE INDEX alerts_by_subject ON alerts (tenant, doc ->> '$.attributes.subject') WHERE doc ->> '$.attributes.subject' IS NOT NULL;
