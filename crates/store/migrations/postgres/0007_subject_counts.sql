-- How many subjects each tenant has at most, so that a new subject need not count them all. Creations raise the number and deletions leave
-- it, so programs that do not know it do no harm by deleting. When it reaches the limit, the subjects are counted and it is exact again. A
-- creation locks its row until the transaction ends.

CREATE TABLE face_subject_counts (
    tenant TEXT NOT NULL PRIMARY KEY,
    at_most BIGINT NOT NULL CHECK (at_most >= 0)
);
