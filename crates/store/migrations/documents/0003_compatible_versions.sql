-- The oldest schema version whose programs can use the file; one row.

CREATE TABLE compatible_from (
    version INTEGER NOT NULL
) STRICT;
INSERT INTO compatible_from (version) VALUES (1);
