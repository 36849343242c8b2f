-- Watchlists: `subjects` is a JSON array of ids. `revision` changes with every change, so the indexer reads only the lists that did.

CREATE TABLE watchlists (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    revision TEXT NOT NULL,
    subjects TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT;
