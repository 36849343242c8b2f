-- Streams: detectors, as a JSON array, if the tenant set some; what a program reported last; frames sent lately. A stream without
-- settings expires; `expires_at` of one with settings is NULL.

CREATE TABLE streams (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    expires_at INTEGER,
    detectors TEXT,
    report TEXT,
    activity TEXT,
    PRIMARY KEY (tenant, name)
) STRICT;
CREATE INDEX streams_by_detectors ON streams (tenant, name, detectors) WHERE detectors IS NOT NULL;
CREATE INDEX streams_by_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL;
