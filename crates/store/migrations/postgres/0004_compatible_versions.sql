-- The oldest schema version whose programs can use the tables after the step. NULL in the steps before this one.
ALTER TABLE sightline_schema ADD COLUMN compatible_from BIGINT;
