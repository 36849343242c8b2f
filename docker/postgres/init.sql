-- The accounts' tables, as `sightline migrate` makes them; a test holds the two in step.

BEGIN;

CREATE TABLE sightline_schema (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
);

-- Accounts: who there is, by what they sign in, what was taken back, and what they used.

-- Finds users by a part of their name or address, for the admin's list.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE users (
    id UUID PRIMARY KEY,
    -- Whose data the user's is; never another user's, also after both are gone.
    tenant UUID NOT NULL UNIQUE,
    username TEXT,
    -- What counts for uniqueness and sign-in: without regard to case.
    username_folded TEXT UNIQUE,
    email TEXT,
    email_folded TEXT UNIQUE,
    full_name TEXT,
    -- Argon2id with its parameters and salt; none for who signs in elsewhere only.
    password_hash TEXT,
    role TEXT NOT NULL CHECK (role IN ('user', 'admin')),
    -- Requests a period and requests a second: NULL for what is configured, -1 for no limit.
    quota BIGINT CHECK (quota >= -1),
    rate_limit BIGINT CHECK (rate_limit >= -1),
    disabled BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    last_sign_in_at TIMESTAMPTZ,
    -- Names and address in lower case, one a line.
    search TEXT NOT NULL,
    CHECK (username_folded IS NOT NULL OR email_folded IS NOT NULL)
);
CREATE INDEX users_by_creation ON users (created_at, id);
CREATE INDEX users_by_search ON users USING gin (search gin_trgm_ops);

-- Who signs in with an OpenID Connect provider.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    linked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_user ON identities (user_id);

-- A family of refresh tokens: one sign-in and all that was renewed from it.
CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    -- The program and the address of the sign-in, for the owner to know it by.
    client TEXT,
    address TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    -- SHA-256: the token itself is random enough that a slow hash would add nothing.
    hash BYTEA PRIMARY KEY,
    session_id UUID NOT NULL REFERENCES sessions ON DELETE CASCADE,
    expires_at TIMESTAMPTZ NOT NULL,
    spent_at TIMESTAMPTZ
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE api_tokens (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ
);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at, id);
CREATE INDEX api_tokens_by_expiry ON api_tokens (expires_at);

-- What every instance must hear of within a second: see revocation_sequence.
CREATE TABLE revocations (
    sequence BIGINT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('access_token', 'session', 'user', 'user_changed', 'api_token', 'signing_keys')),
    subject UUID NOT NULL,
    -- From then on nothing that it took back would be taken anyway.
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- The last number given. Its row is locked until the number's transaction ends, so numbers appear in their order and who
-- has read up to one has missed none before it; a PostgreSQL sequence does not promise that.
CREATE TABLE revocation_sequence (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    last BIGINT NOT NULL
);
INSERT INTO revocation_sequence (id, last) VALUES (1, 0);

CREATE TABLE password_resets (
    hash BYTEA PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX password_resets_by_user ON password_resets (user_id);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);

-- What a user used in a period: 2026-11, 2026-11-21 or total.
CREATE TABLE quota_counters (
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    period TEXT NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    touched_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, period)
);
CREATE INDEX quota_counters_by_touch ON quota_counters (touched_at);

-- The frames that were counted, so that a repeat of one is not.
CREATE TABLE quota_charges (
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    frame_id UUID NOT NULL,
    period TEXT NOT NULL,
    -- Requests that were admitted for it and not refunded.
    holders BIGINT NOT NULL CHECK (holders > 0),
    charged_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, frame_id)
);
CREATE INDEX quota_charges_by_time ON quota_charges (charged_at);

-- Ed25519 keys of access tokens. Whoever reads the private half can sign in as anybody.
CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    public_key BYTEA NOT NULL,
    private_key BYTEA NOT NULL,
    signs_from TIMESTAMPTZ NOT NULL,
    verifies_until TIMESTAMPTZ
);

CREATE TABLE audit_log (
    id UUID PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    action TEXT NOT NULL,
    -- Whom it concerns and who did it; not tied to users, so that it outlives them.
    user_id UUID,
    actor_id UUID,
    address TEXT,
    detail TEXT
);
CREATE INDEX audit_log_by_user ON audit_log (user_id, at, id);
CREATE INDEX audit_log_by_time ON audit_log (at, id);

INSERT INTO sightline_schema (version, name, checksum, applied_at)
VALUES (1, 'accounts', '5fe8e35c2f913fee03124324499fd2a4f93b1c2d6f7638f90612c50fd52be9a9', now());

-- E-mail addresses are found by their mailbox: Normalization Form C, lower case, the domain in the ASCII form of IDNA. The program
-- computes `users.email_folded` again in this step, because no database knows IDNA. No table changes.

INSERT INTO sightline_schema (version, name, checksum, applied_at)
VALUES (2, 'email_keys', 'f132889535c4dbd4d9f8418e37c17894401beb255affac41ace3848113aea389', now());

-- Whether a sign-in asked for fewer scopes than every user may have. A scope that is new later does not change the answer. NULL for a
-- session that an older program opened after this step.
ALTER TABLE sessions ADD COLUMN narrowed BOOLEAN;
UPDATE sessions
SET narrowed = scopes NOT LIKE 'frames:write detections:read alerts:read rules:write faces:write faces:read%';

INSERT INTO sightline_schema (version, name, checksum, applied_at)
VALUES (3, 'narrowed_sessions', '96bfd10ad06fd9fb99922ba3e43cff3e151242da8b863533b9787e82372efe08', now());

-- The oldest schema version whose programs can use the tables after the step. NULL in the steps before this one.
ALTER TABLE sightline_schema ADD COLUMN compatible_from BIGINT;

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (4, 'compatible_versions', '299e52cbe906d5fef5856dcff8d86e82daac73a44ae7899893ff9b6fa566b6d7', now(), 2);

-- Enrolled faces: the subjects of each tenant, and the vectors of their faces for each model. A name is here alone.

CREATE TABLE face_subjects (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    -- The id that the owner's own system has for the person.
    external_id TEXT,
    name TEXT,
    -- A JSON object.
    metadata TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- When it was changed, or vectors were added to it.
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, external_id)
);
CREATE INDEX face_subjects_by_creation ON face_subjects (tenant, created_at, id);

-- The vectors of a tenant for a model, together. A writer locks this row until its transaction ends, so versions appear in
-- their order, and a reader that has read up to one has missed none before it.
CREATE TABLE face_galleries (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    -- Numbers of each vector.
    dimensions BIGINT NOT NULL CHECK (dimensions > 0),
    version BIGINT NOT NULL,
    vectors BIGINT NOT NULL CHECK (vectors >= 0),
    -- Subjects with an enrolled vector.
    subjects BIGINT NOT NULL CHECK (subjects >= 0),
    -- Removals up to this version are no longer known.
    removals_known_after BIGINT NOT NULL,
    PRIMARY KEY (tenant, model)
);

-- The highest version of all galleries that were deleted. New ones begin after it, so no version returns.
CREATE TABLE face_deleted_galleries (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
);
INSERT INTO face_deleted_galleries (id, version) VALUES (1, 0);

-- One table for all models, because a model is a name in the operator's configuration. Without a reference to the subject: the check of a
-- deleted subject would need one more index. A transaction that adds a vector locks its subject, and so does one that deletes the subject.
CREATE TABLE face_vectors (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id UUID NOT NULL,
    subject UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('enrolled', 'negative')),
    -- Of the gallery, by the last change of this vector.
    version BIGINT NOT NULL,
    -- Each number as a 32-bit float, little-endian.
    vector BYTEA NOT NULL,
    PRIMARY KEY (tenant, model, id)
);
CREATE INDEX face_vectors_by_version ON face_vectors (tenant, model, version, id);
CREATE INDEX face_vectors_by_subject ON face_vectors (tenant, model, subject, id);

-- Which vectors were removed, for readers that have them in memory.
CREATE TABLE face_vector_removals (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id UUID NOT NULL,
    version BIGINT NOT NULL,
    removed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, model, id)
);
CREATE INDEX face_vector_removals_by_version ON face_vector_removals (tenant, model, version, id);
CREATE INDEX face_vector_removals_by_time ON face_vector_removals (removed_at);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (5, 'faces', 'ed194d098cab59ed8a8f4fb2169bf4844de410e21cd99206ac6146cbb4e91508', now(), 2);

-- The ids of subjects that were deleted or merged into others. Results that were on their way at a deletion are stored after it, so a
-- task forgets the ids of deleted ones again and again until none can come any more. A merged id is forgotten with the subject that
-- stays.

CREATE TABLE face_former_subjects (
    tenant TEXT NOT NULL,
    id UUID NOT NULL,
    -- The subject that stays; NULL if it was not merged.
    merged_into UUID,
    -- NULL as long as the subject that stays is not deleted.
    deleted_at TIMESTAMPTZ,
    -- When the task forgets it next.
    next_at TIMESTAMPTZ,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX face_former_subjects_by_merge ON face_former_subjects (tenant, merged_into, id);
CREATE INDEX face_former_subjects_by_time ON face_former_subjects (next_at);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (6, 'former_subjects', '91b1d437b186d4efddc222467fc32d92133e465510c7df627a6d3a090e4c4118', now(), 2);

-- How many subjects each tenant has at most, so that a new subject need not count them all. Creations raise the number and deletions leave
-- it, so programs that do not know it do no harm by deleting. When it reaches the limit, the subjects are counted and it is exact again. A
-- creation locks its row until the transaction ends.

CREATE TABLE face_subject_counts (
    tenant TEXT NOT NULL PRIMARY KEY,
    at_most BIGINT NOT NULL CHECK (at_most >= 0)
);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (7, 'subject_counts', '6b5b538ee325379a7434aab00fdea445a1b3396733ad4819dac8492c5de76c96', now(), 2);

-- The consent of a subject to the use of its face: when it was given, until when it holds, and what names it elsewhere.

ALTER TABLE face_subjects ADD COLUMN consent_given_at TIMESTAMPTZ;
ALTER TABLE face_subjects ADD COLUMN consent_until TIMESTAMPTZ;
ALTER TABLE face_subjects ADD COLUMN consent_reference TEXT;
-- When the vectors are erased because it ends; NULL without an end, and after that.
ALTER TABLE face_subjects ADD COLUMN consent_ends_at TIMESTAMPTZ;
CREATE INDEX face_subjects_by_consent ON face_subjects (consent_ends_at) WHERE consent_ends_at IS NOT NULL;

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (8, 'consent', '4dc88bacad311312b47cf87d306fef62b753bcb7faa405ec48810b55f371d4b8', now(), 2);

-- The model that compares faces, for all tenants, and the one to which it is being changed. No row: the model that models.yaml prefers.

CREATE TABLE face_models (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    active TEXT NOT NULL,
    -- NULL if it is not being changed.
    target TEXT,
    -- Whether it changes also if subjects have no face for the target.
    without_missing BOOLEAN NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    -- The process that makes the vectors of the target, and until when no other one does.
    worker UUID,
    worker_until TIMESTAMPTZ
);

-- Vectors that the target cannot have, by the id of that of the active model, and why.
CREATE TABLE face_model_gaps (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id UUID NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (tenant, model, id)
);
CREATE INDEX face_model_gaps_by_model ON face_model_gaps (model, tenant, id);

-- What a vector was made of: of an enrolled face the key of its kept image, of a negative the id of its detection. NULL if that is not
-- known. The vectors of one face have the same id for all models.
ALTER TABLE face_vectors ADD COLUMN source TEXT;

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (9, 'face_models', '740615975b71f54f5cc5e115275cbf50f1a74fb1f743ec6f0e877b1627d823a2', now(), 2);

-- Photographs that verify users: whom the first one enrolled, and the outcome of each.

-- The subject of a user's own face, in the user's tenant. It ends with the subject; the next photograph then enrols another one.
CREATE TABLE user_faces (
    user_id UUID PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    subject UUID NOT NULL,
    verified_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX user_faces_by_subject ON user_faces (subject);

-- A message that is delivered again finds its outcome here.
CREATE TABLE face_upload_outcomes (
    -- The place of the message on the log.
    topic_id TEXT NOT NULL,
    log_partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    -- NULL if no user has the name.
    user_id UUID REFERENCES users ON DELETE CASCADE,
    outcome TEXT NOT NULL,
    -- SHA-256 of user and path, by which a second copy of the message is known.
    message BYTEA NOT NULL,
    -- Which file it was: inode, time of its last change, and size. NULL without a file.
    file TEXT,
    decided_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
);
CREATE INDEX face_upload_outcomes_by_message ON face_upload_outcomes (message, file);
CREATE INDEX face_upload_outcomes_by_user ON face_upload_outcomes (user_id);
CREATE INDEX face_upload_outcomes_by_time ON face_upload_outcomes (decided_at);

-- How many processes began to decide an upload that has no outcome, so that an image that ends each of them is given up.
CREATE TABLE face_upload_attempts (
    topic_id TEXT NOT NULL,
    log_partition BIGINT NOT NULL,
    log_offset BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    began_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (topic_id, log_partition, log_offset)
);
CREATE INDEX face_upload_attempts_by_time ON face_upload_attempts (began_at);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (10, 'uploads', '9a8e42cd68b8b5cbae58ae63ae35d28616636d8dc2f9df7c92cec35b234498bc', now(), 2);

-- The latest outcome of a user is read by this index alone, however many photographs the user has sent.
CREATE INDEX face_upload_outcomes_by_user_and_time ON face_upload_outcomes (user_id, decided_at, log_offset);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (11, 'latest_outcomes', '915a051cbb4dcf2d1bb4c2a5bc1ca8696b7e1ef8c7cb1d5910823221ae8dd8b8', now(), 2);

-- The tenants of deleted users. Frames that were on their way at a deletion are processed after it, so a task erases what they leave again
-- and again until nothing can come any more.

CREATE TABLE deleted_tenants (
    -- The id of the user, whose row is gone.
    deleted_user UUID PRIMARY KEY,
    tenant TEXT NOT NULL,
    deleted_at TIMESTAMPTZ NOT NULL,
    -- When the task erases it next.
    next_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX deleted_tenants_by_time ON deleted_tenants (next_at);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (12, 'deleted_tenants', 'c96eed0d1c5559c9694ff4e5ed2bf84d4d1c526d9ecdaa24a4b1a470f37740db', now(), 2);

-- The shop: books with their files, and what users buy. Books belong to the installation and have no tenant.

CREATE TABLE books (
    -- Lists are ordered by it, the newest book first.
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    language TEXT,
    -- In the smallest unit of the currency. NULL: not for sale.
    price_minor BIGINT CHECK (price_minor >= 0),
    currency TEXT,
    status TEXT NOT NULL CHECK (status IN ('draft', 'processing', 'ready', 'hidden', 'deleted')),
    description TEXT,
    duration_ms BIGINT CHECK (duration_ms >= 0),
    -- One more with each change.
    version BIGINT NOT NULL,
    -- The code of what is wrong with its files.
    fault TEXT,
    preview_attempts BIGINT NOT NULL,
    -- When its preview is made next. NULL: it has one, or no master.
    preview_after TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    -- The words by which it is found, with its categories and its status, as the program folded them.
    search TEXT NOT NULL,
    search_words TSVECTOR NOT NULL GENERATED ALWAYS AS (array_to_tsvector(string_to_array(search, ' '))) STORED,
    CHECK ((price_minor IS NULL) = (currency IS NULL))
);
CREATE INDEX books_by_search ON books USING gin (search_words) WITH (fastupdate = off);
CREATE INDEX books_by_preview ON books (preview_after);
CREATE INDEX books_processing ON books (updated_at) WHERE status = 'processing';
CREATE INDEX books_deleted ON books (updated_at) WHERE status = 'deleted';

CREATE TABLE categories (
    slug TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    -- What belongs to it, in a sentence.
    hint TEXT,
    -- A proposed category is on no book.
    accepted BOOLEAN NOT NULL
);

CREATE TABLE book_categories (
    book_id UUID NOT NULL REFERENCES books (id),
    slug TEXT NOT NULL REFERENCES categories (slug),
    position BIGINT NOT NULL,
    PRIMARY KEY (book_id, slug)
);
CREATE INDEX book_categories_by_slug ON book_categories (slug, book_id);

-- The files of a book: at most one of each kind.
CREATE TABLE assets (
    book_id UUID NOT NULL REFERENCES books (id),
    kind TEXT NOT NULL CHECK (kind IN ('master', 'preview', 'cover')),
    media_key TEXT NOT NULL UNIQUE,
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    sha256 BYTEA NOT NULL,
    content_type TEXT NOT NULL,
    file_name TEXT NOT NULL,
    duration_ms BIGINT CHECK (duration_ms >= 0),
    stored_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (book_id, kind)
);

-- Objects in the media store that no book has any more, or not yet. A task deletes them.
CREATE TABLE media_to_delete (
    media_key TEXT PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL
);
CREATE INDEX media_to_delete_by_time ON media_to_delete (since, media_key);

CREATE TABLE carts (
    user_id UUID PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    -- One more with each change of the lines.
    version BIGINT NOT NULL
);

CREATE TABLE cart_lines (
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id UUID NOT NULL REFERENCES books (id),
    -- The price that the user has seen.
    price_minor BIGINT,
    currency TEXT,
    added_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, book_id)
);

CREATE TABLE orders (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The key of the request, so that a repeat finds its order.
    order_key TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'declined', 'refunding', 'refunded')),
    -- Why it was declined.
    why TEXT,
    total_minor BIGINT NOT NULL CHECK (total_minor >= 0),
    currency TEXT NOT NULL,
    cart_version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (user_id, order_key)
);
CREATE INDEX orders_by_user ON orders (user_id, created_at, id);
CREATE INDEX orders_by_status ON orders (status, created_at, id);

-- Titles and prices as they were when the order was made.
CREATE TABLE order_lines (
    order_id UUID NOT NULL REFERENCES orders ON DELETE CASCADE,
    position BIGINT NOT NULL,
    book_id UUID NOT NULL REFERENCES books (id),
    title TEXT NOT NULL,
    price_minor BIGINT NOT NULL CHECK (price_minor >= 0),
    PRIMARY KEY (order_id, position)
);
CREATE INDEX order_lines_by_book ON order_lines (book_id, order_id);

CREATE TABLE payments (
    provider TEXT NOT NULL,
    reference TEXT NOT NULL,
    order_id UUID NOT NULL UNIQUE REFERENCES orders ON DELETE CASCADE,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    paid_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (provider, reference)
);

CREATE TABLE refunds (
    order_id UUID PRIMARY KEY REFERENCES orders ON DELETE CASCADE,
    reason TEXT NOT NULL,
    -- When the books were taken back.
    begun_at TIMESTAMPTZ NOT NULL,
    reference TEXT,
    -- When the money was paid back.
    ended_at TIMESTAMPTZ
);

-- Which books a user has bought.
CREATE TABLE entitlements (
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id UUID NOT NULL REFERENCES books (id),
    order_id UUID NOT NULL REFERENCES orders ON DELETE CASCADE,
    bought_at TIMESTAMPTZ NOT NULL,
    -- When a refund took it back.
    revoked_at TIMESTAMPTZ,
    PRIMARY KEY (user_id, book_id)
);
CREATE INDEX entitlements_by_time ON entitlements (user_id, bought_at, book_id);
CREATE INDEX entitlements_by_book ON entitlements (book_id);
CREATE INDEX entitlements_by_order ON entitlements (order_id);

-- Where a listener stopped.
CREATE TABLE positions (
    user_id UUID NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id UUID NOT NULL REFERENCES books (id),
    at_ms BIGINT NOT NULL CHECK (at_ms >= 0),
    -- When that was, by the listener's clock. The latest one counts.
    event_time TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, book_id)
);

-- Orders of deleted users, as bookkeeping needs them: nothing in them names a person.
CREATE TABLE kept_orders (
    id UUID PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'refunding', 'refunded')),
    total_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    paid_at TIMESTAMPTZ,
    provider TEXT,
    reference TEXT,
    refunded_at TIMESTAMPTZ
);
CREATE INDEX kept_orders_by_time ON kept_orders (created_at, id);
CREATE INDEX kept_orders_by_status ON kept_orders (status, created_at, id);

CREATE TABLE kept_order_lines (
    order_id UUID NOT NULL REFERENCES kept_orders ON DELETE CASCADE,
    position BIGINT NOT NULL,
    book_id UUID NOT NULL,
    title TEXT NOT NULL,
    price_minor BIGINT NOT NULL,
    PRIMARY KEY (order_id, position)
);

-- The books of the payment provider `mock`, which takes no money.
CREATE TABLE mock_payments (
    order_id UUID PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('paid', 'declined', 'cancelled', 'refunded')),
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    refunded_at TIMESTAMPTZ
);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (13, 'shop', '42b870fed73e5d28f7d5d4b4e7672734e7fb86110ad1cb1ca37b4bc60358e75d', now(), 2);

-- Resumable uploads of media files: how far each is, and the parts that the media store has of it.

CREATE TABLE media_uploads (
    id UUID PRIMARY KEY,
    -- No reference to the book: the row is what knows of the parts, so it outlives the book until they are deleted.
    book UUID NOT NULL,
    -- The user who began it; NULL after the end of that user.
    owner UUID REFERENCES users ON DELETE SET NULL,
    kind TEXT NOT NULL,
    -- The object that the file becomes.
    object_key TEXT NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    file_name TEXT,
    -- Length of the file. NULL while it is not known.
    length BIGINT,
    -- Number of durable bytes: those of the parts, and those of the tail.
    received BIGINT NOT NULL,
    -- Number of bytes after the last part, and the writer that stored them.
    tail_bytes BIGINT NOT NULL,
    tail_writer BIGINT,
    -- Number of parts, and the highest number that one of them has or a writer may be using.
    parts BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    -- State of a hash after the last part; empty before it.
    hash_state BYTEA NOT NULL,
    -- Id of the unfinished object in the media store. NULL before the first part.
    multipart_id TEXT,
    -- The writer that took it last. What an earlier one records is refused.
    writer BIGINT NOT NULL,
    -- open or complete.
    state TEXT NOT NULL,
    -- SHA-256 of the object; empty while it is open.
    sha256 BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX media_uploads_by_book ON media_uploads (book, created_at);
CREATE INDEX media_uploads_by_owner ON media_uploads (owner);
CREATE INDEX media_uploads_by_expiry ON media_uploads (expires_at);

CREATE TABLE media_upload_parts (
    upload UUID NOT NULL REFERENCES media_uploads ON DELETE CASCADE,
    number BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- What the media store calls its content.
    tag TEXT NOT NULL,
    PRIMARY KEY (upload, number)
);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (14, 'media_uploads', '0d41a529188710f2d5765ef18501060af2e43df788727e0afa42a3eef44931f1', now(), 2);

-- The e-mail address that a reset mail or an OpenID provider proved. It counts only while the user still has it, so an older program,
-- which does not know the column, cannot make a new address count as proven.
ALTER TABLE users ADD COLUMN verified_email TEXT;
-- The last change of names, address, password, role or limits; NULL without one since this step.
ALTER TABLE users ADD COLUMN updated_at TIMESTAMPTZ;

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (15, 'user_state', '5beb273f839a3f88648539f0086202710fdbacd3f2a51a0a3ce51c66ddb79b7d', now(), 2);

-- The work on audiobooks: steps, windows of the transcription, results that were paid for, calls of providers with their cost, and how
-- providers are.

CREATE TABLE pipelines (
    book_id UUID PRIMARY KEY REFERENCES books (id),
    -- One more with each redo and each new file.
    generation BIGINT NOT NULL,
    -- The first step that is not done.
    step TEXT NOT NULL CHECK (step IN ('upload', 'transcribe', 'summarise', 'publish', 'done')),
    state TEXT NOT NULL CHECK (state IN ('due', 'running', 'waiting', 'failed', 'done')),
    -- The code of why it waits or has failed, and what it is about.
    cause TEXT,
    detail TEXT,
    -- The group of providers that an admin chose. NULL: as configured.
    provider_group TEXT,
    -- What the book may cost, if an admin set it.
    budget_micro BIGINT CHECK (budget_micro >= 0),
    -- SHA-256 of the file that this generation is of; empty without one.
    source BYTEA NOT NULL,
    -- NULL before the windows are known.
    windows_total BIGINT,
    windows_done BIGINT NOT NULL,
    -- The generations whose transcript and whose texts are complete and served.
    transcript BIGINT,
    texts BIGINT,
    -- How often a worker ended in the middle of the step.
    crashes BIGINT NOT NULL,
    -- One more with each change.
    revision BIGINT NOT NULL,
    -- When its task is published next. NULL: it waits for its windows or for an admin, or is done.
    wake_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX pipelines_by_wake ON pipelines (wake_at);

-- The windows of a book: the parts that are transcribed one by one. They are cut at silence and do not overlap.
CREATE TABLE windows (
    book_id UUID NOT NULL REFERENCES pipelines,
    generation BIGINT NOT NULL,
    number BIGINT NOT NULL,
    start_ms BIGINT NOT NULL CHECK (start_ms >= 0),
    end_ms BIGINT NOT NULL CHECK (end_ms > start_ms),
    state TEXT NOT NULL CHECK (state IN ('due', 'queued', 'running', 'done', 'failed')),
    -- How often it was published since a worker took it last.
    published BIGINT NOT NULL,
    -- How often a worker took it. What an earlier one reports is refused.
    taken BIGINT NOT NULL,
    -- How often a worker ended with it.
    crashes BIGINT NOT NULL,
    -- The key of its text; empty before it is done.
    checkpoint_key BYTEA NOT NULL,
    provider TEXT,
    model TEXT,
    -- Why the text is doubtful.
    flag TEXT,
    cause TEXT,
    detail TEXT,
    -- When its task is published next. NULL: it is done or has failed.
    wake_at TIMESTAMPTZ,
    PRIMARY KEY (book_id, generation, number)
);
CREATE INDEX windows_by_wake ON windows (state, wake_at);
CREATE INDEX windows_by_number ON windows (number, wake_at) WHERE state = 'due' AND wake_at IS NOT NULL;
CREATE INDEX windows_by_checkpoint ON windows (checkpoint_key);

-- Results by what they were made from, so that nothing is computed or paid for twice.
CREATE TABLE checkpoints (
    key BYTEA PRIMARY KEY,
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    body BYTEA NOT NULL,
    -- NULL: a window has it.
    expires_at TIMESTAMPTZ
);
CREATE INDEX checkpoints_by_expiry ON checkpoints (expires_at);

-- Texts of a book that are read in parts, such as its sentences with their times and embeddings.
CREATE TABLE text_parts (
    book_id UUID NOT NULL REFERENCES pipelines,
    generation BIGINT NOT NULL,
    kind TEXT NOT NULL,
    number BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (book_id, generation, kind, number)
);

-- Every call of a provider. It outlives its book.
CREATE TABLE provider_calls (
    id UUID PRIMARY KEY,
    -- NULL for a probe.
    book_id UUID,
    generation BIGINT NOT NULL,
    step TEXT NOT NULL,
    window_number BIGINT,
    provider TEXT NOT NULL,
    provider_group TEXT NOT NULL,
    model TEXT NOT NULL,
    -- unknown: nobody told how it ended, and what was reserved counts as spent.
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled', 'unknown')),
    outcome TEXT,
    -- NULL for a provider without a price.
    currency TEXT,
    -- In millionths of the currency's unit.
    reserved_micro BIGINT NOT NULL CHECK (reserved_micro >= 0),
    cost_micro BIGINT CHECK (cost_micro >= 0),
    audio_ms BIGINT,
    tokens_in BIGINT,
    tokens_out BIGINT,
    request_id TEXT,
    -- The day in UTC on which it was reserved, such as 2026-01-02.
    day TEXT NOT NULL,
    reserved_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ,
    -- When it counts as unknown.
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX provider_calls_by_time ON provider_calls (reserved_at, id);
CREATE INDEX provider_calls_by_book ON provider_calls (book_id, reserved_at, id);
CREATE INDEX provider_calls_by_provider ON provider_calls (provider, reserved_at, id);
CREATE INDEX provider_calls_by_expiry ON provider_calls (expires_at) WHERE state = 'reserved';

-- What is spent or reserved: of a book, and on a day. In step with the calls, in one transaction.
CREATE TABLE provider_spend (
    -- `book <id>` or `day <date>`.
    scope TEXT NOT NULL,
    currency TEXT NOT NULL,
    micro BIGINT NOT NULL,
    PRIMARY KEY (scope, currency)
);

-- How providers are. Every worker and every restart knows it.
CREATE TABLE provider_states (
    -- transcribe or summarise.
    task TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The place that an admin gave it. NULL: as in the file.
    position BIGINT,
    enabled BOOLEAN NOT NULL,
    -- The configuration with which it refused its key. It is off until it has another one.
    off_config TEXT,
    -- Failures in a row, and cooldowns in a row.
    failures BIGINT NOT NULL,
    cooldowns BIGINT NOT NULL,
    cools_until TIMESTAMPTZ,
    cause TEXT,
    detail TEXT,
    -- One call tries it after a cooldown, until this time.
    probing_until TIMESTAMPTZ,
    revision BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (task, name)
);

-- Whose the description is: ai or extract; NULL: an admin's, or there is none.
ALTER TABLE books ADD COLUMN description_source TEXT;
-- How well a category fits, and whose choice it is: ai or extract; NULL: an admin's.
ALTER TABLE book_categories ADD COLUMN score DOUBLE PRECISION;
ALTER TABLE book_categories ADD COLUMN source TEXT;

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (16, 'pipeline', 'af8b8cab5c45ef8b56e1060ea3db7af38bfbd205ebc74fa36bec05f76603bc85', now(), 2);

-- Which providers the audio workers have, as each tells it while it runs, and what admins ask of them. The operator's file is only with the
-- workers, so other services know providers from here.

CREATE TABLE provider_list (
    -- transcribe or summarise.
    task TEXT NOT NULL,
    name TEXT NOT NULL,
    provider_group TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT,
    -- Where its server is, without a path and a key.
    host TEXT,
    -- Its place in the file.
    place BIGINT NOT NULL,
    -- Why it does no work in the worker that told of it last.
    missing TEXT,
    -- When a worker told of it last.
    seen_at TIMESTAMPTZ NOT NULL,
    -- When an admin asked to try it, until a worker has done it.
    wanted_at TIMESTAMPTZ,
    -- Until when one worker has the trial.
    trial_until TIMESTAMPTZ,
    -- How the last trial ended.
    tried_at TIMESTAMPTZ,
    works BOOLEAN,
    answer TEXT,
    PRIMARY KEY (task, name)
);

INSERT INTO sightline_schema (version, name, checksum, applied_at, compatible_from)
VALUES (17, 'provider_list', '839e2bc6e2316f497b250544b87a72c05e0ff0f3bf104181de76914a5fb2ba98', now(), 2);

COMMIT;
