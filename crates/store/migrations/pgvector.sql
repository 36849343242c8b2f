-- The vectors of faces as values of pgvector, beside their bytes, so that PostgreSQL can search a gallery that is too large for memory.
-- Not one of the numbered steps, because a server may lack pgvector: `sightline migrate` runs this where the extension is installed
-- and the table is not complete, in one transaction, while writers of vectors wait. The bytes in face_vectors stay what counts; everything
-- here can be dropped and made again.

-- Without the column of numbers, it is what the extension left when it was dropped.
DROP TABLE IF EXISTS face_vector_values;

CREATE TABLE face_vector_values (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id UUID NOT NULL,
    subject UUID NOT NULL,
    kind TEXT NOT NULL,
    numbers vector NOT NULL,
    PRIMARY KEY (tenant, model, id),
    -- A vector that is deleted is deleted here too.
    FOREIGN KEY (tenant, model, id) REFERENCES face_vectors ON DELETE CASCADE
);
-- A search reads every vector of a gallery: none may be in another place than its row.
ALTER TABLE face_vector_values ALTER COLUMN numbers SET STORAGE PLAIN;

-- The vector of these bytes. Bytes that are no vector of length 1 give one of a length that no model has, so that a search of this gallery
-- fails, and the program, which then reads the bytes, names the damaged vector. Each number is computed from its bits: 23 of the fraction,
-- 8 of the exponent, the sign.
CREATE OR REPLACE FUNCTION face_vector_numbers(bytes BYTEA) RETURNS vector LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    numbers vector;
BEGIN
    numbers := ARRAY(
        SELECT (
            CASE WHEN bits > 2147483647 THEN -1 ELSE 1 END
            * ((bits & 8388607) + CASE WHEN bits & 2139095040 > 0 THEN 8388608 ELSE 0 END)
            * power(2::FLOAT8, greatest((bits >> 23) & 255, 1) - 150)
        )::REAL
        FROM generate_series(0, length(bytes) - 1, 4) AS place,
            -- OFFSET 0: the bits are put together once for each number.
            LATERAL (SELECT (get_byte(bytes, place + 3)::BIGINT << 24) + (get_byte(bytes, place + 2) << 16)
                + (get_byte(bytes, place + 1) << 8) + get_byte(bytes, place) AS bits OFFSET 0) AS number
    )::vector;
    IF abs(vector_norm(numbers) - 1) <= 1e-6 THEN
        RETURN numbers;
    END IF;
    RETURN '[0]';
EXCEPTION
    -- The form of a number that is infinite or none, or a part of a number at the end.
    WHEN data_exception OR program_limit_exceeded THEN
        RETURN '[0]';
END
$$;

-- With the rights of the tables' owner: a role that may write vectors needs no right on the values.
CREATE OR REPLACE FUNCTION face_vector_changed() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.vector = OLD.vector THEN
        UPDATE face_vector_values SET subject = NEW.subject, kind = NEW.kind
        WHERE tenant = NEW.tenant AND model = NEW.model AND id = NEW.id;
    ELSE
        INSERT INTO face_vector_values (tenant, model, id, subject, kind, numbers)
        VALUES (NEW.tenant, NEW.model, NEW.id, NEW.subject, NEW.kind, face_vector_numbers(NEW.vector))
        ON CONFLICT (tenant, model, id) DO UPDATE
        SET subject = excluded.subject, kind = excluded.kind, numbers = excluded.numbers;
    END IF;
    RETURN NULL;
END
$$;

-- A caller's own tables and operators of the same names must not come first.
DO $$
DECLARE
    schemas TEXT := (SELECT string_agg(DISTINCT quote_ident(name), ', ') FROM (
        SELECT current_schema()::TEXT AS name
        UNION ALL SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'
    ) AS needed);
BEGIN
    EXECUTE 'ALTER FUNCTION face_vector_numbers(BYTEA) SET search_path = pg_catalog, ' || schemas || ', pg_temp';
    EXECUTE 'ALTER FUNCTION face_vector_changed() SET search_path = pg_catalog, ' || schemas || ', pg_temp';
END
$$;

CREATE OR REPLACE TRIGGER face_vector_changed AFTER INSERT OR UPDATE OF subject, kind, vector ON face_vectors
    FOR EACH ROW EXECUTE FUNCTION face_vector_changed();

-- Without the extension a vector can still be written: DROP EXTENSION vector CASCADE drops the trigger too.
ALTER TRIGGER face_vector_changed ON face_vectors DEPENDS ON EXTENSION vector;
ALTER FUNCTION face_vector_changed() DEPENDS ON EXTENSION vector;

-- An owner's vectors in the order in which a search reads them, so that they lie together.
INSERT INTO face_vector_values (tenant, model, id, subject, kind, numbers)
SELECT tenant, model, id, subject, kind, face_vector_numbers(vector) FROM face_vectors ORDER BY tenant, model, id;

CREATE INDEX face_vector_values_of_negatives ON face_vector_values (tenant, model, subject) WHERE kind = 'negative';
ANALYZE face_vector_values;
