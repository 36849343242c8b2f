-- Rules, results, detections and alerts. Times are microseconds since 1970; `doc` is the document as JSON, the columns
-- beside it serve filters and indexes.

CREATE TABLE rules (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX rules_by_tenant ON rules (tenant, name, id);

CREATE TABLE results (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    stream TEXT,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ce_id TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX results_by_time ON results (at, id);
CREATE INDEX results_by_tenant ON results (tenant, at, id);
CREATE INDEX results_by_stream ON results (stream, at, id) WHERE stream IS NOT NULL;
CREATE INDEX results_by_expiry ON results (expires_at);

CREATE TABLE detections (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    stream TEXT,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    label TEXT NOT NULL,
    confidence REAL NOT NULL,
    category TEXT,
    category_folded TEXT,
    make TEXT,
    model TEXT,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX detections_by_time ON detections (at, id);
CREATE INDEX detections_by_tenant ON detections (tenant, at, id);
CREATE INDEX detections_by_stream ON detections (stream, at, id) WHERE stream IS NOT NULL;
CREATE INDEX detections_by_expiry ON detections (expires_at);

CREATE TABLE alerts (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    stream TEXT,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    label TEXT NOT NULL,
    rule TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_time ON alerts (at, id);
CREATE INDEX alerts_by_tenant ON alerts (tenant, at, id);
CREATE INDEX alerts_by_stream ON alerts (stream, at, id) WHERE stream IS NOT NULL;
CREATE INDEX alerts_by_expiry ON alerts (expires_at);
