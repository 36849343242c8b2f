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
