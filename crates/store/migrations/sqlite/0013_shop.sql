-- The shop: books with their files, and what users buy. Books belong to the installation and have no tenant.

CREATE TABLE books (
    -- Lists are ordered by it, the newest book first.
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    language TEXT,
    -- In the smallest unit of the currency. NULL: not for sale.
    price_minor INTEGER CHECK (price_minor >= 0),
    currency TEXT,
    status TEXT NOT NULL CHECK (status IN ('draft', 'processing', 'ready', 'hidden', 'deleted')),
    description TEXT,
    duration_ms INTEGER CHECK (duration_ms >= 0),
    -- One more with each change.
    version INTEGER NOT NULL,
    -- The code of what is wrong with its files.
    fault TEXT,
    preview_attempts INTEGER NOT NULL,
    -- When its preview is made next. NULL: it has one, or no master.
    preview_after INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- The words by which it is found, with its categories and its status, as the program folded them.
    search TEXT NOT NULL,
    CHECK ((price_minor IS NULL) = (currency IS NULL))
) STRICT;
-- The words of the column above. The program keeps both in step, in one transaction.
CREATE VIRTUAL TABLE book_search USING fts5 (search, content = 'books', content_rowid = 'number', detail = 'none', prefix = '1 2 3', tokenize = "ascii tokenchars '-='");
CREATE INDEX books_by_preview ON books (preview_after);
CREATE INDEX books_processing ON books (updated_at) WHERE status = 'processing';
CREATE INDEX books_deleted ON books (updated_at) WHERE status = 'deleted';

CREATE TABLE categories (
    slug TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    -- What belongs to it, in a sentence.
    hint TEXT,
    -- A proposed category is on no book.
    accepted INTEGER NOT NULL CHECK (accepted IN (0, 1))
) STRICT;

CREATE TABLE book_categories (
    book_id TEXT NOT NULL REFERENCES books (id),
    slug TEXT NOT NULL REFERENCES categories (slug),
    position INTEGER NOT NULL,
    PRIMARY KEY (book_id, slug)
) STRICT;
CREATE INDEX book_categories_by_slug ON book_categories (slug, book_id);

-- The files of a book: at most one of each kind.
CREATE TABLE assets (
    book_id TEXT NOT NULL REFERENCES books (id),
    kind TEXT NOT NULL CHECK (kind IN ('master', 'preview', 'cover')),
    media_key TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    sha256 BLOB NOT NULL,
    content_type TEXT NOT NULL,
    file_name TEXT NOT NULL,
    duration_ms INTEGER CHECK (duration_ms >= 0),
    stored_at INTEGER NOT NULL,
    PRIMARY KEY (book_id, kind)
) STRICT;

-- Objects in the media store that no book has any more, or not yet. A task deletes them.
CREATE TABLE media_to_delete (
    media_key TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;
CREATE INDEX media_to_delete_by_time ON media_to_delete (since, media_key);

CREATE TABLE carts (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    -- One more with each change of the lines.
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE cart_lines (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id TEXT NOT NULL REFERENCES books (id),
    -- The price that the user has seen.
    price_minor INTEGER,
    currency TEXT,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, book_id)
) STRICT;

CREATE TABLE orders (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The key of the request, so that a repeat finds its order.
    order_key TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'declined', 'refunding', 'refunded')),
    -- Why it was declined.
    why TEXT,
    total_minor INTEGER NOT NULL CHECK (total_minor >= 0),
    currency TEXT NOT NULL,
    cart_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (user_id, order_key)
) STRICT;
CREATE INDEX orders_by_user ON orders (user_id, created_at, id);
CREATE INDEX orders_by_status ON orders (status, created_at, id);

-- Titles and prices as they were when the order was made.
CREATE TABLE order_lines (
    order_id TEXT NOT NULL REFERENCES orders ON DELETE CASCADE,
    position INTEGER NOT NULL,
    book_id TEXT NOT NULL REFERENCES books (id),
    title TEXT NOT NULL,
    price_minor INTEGER NOT NULL CHECK (price_minor >= 0),
    PRIMARY KEY (order_id, position)
) STRICT;
CREATE INDEX order_lines_by_book ON order_lines (book_id, order_id);

CREATE TABLE payments (
    provider TEXT NOT NULL,
    reference TEXT NOT NULL,
    order_id TEXT NOT NULL UNIQUE REFERENCES orders ON DELETE CASCADE,
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    paid_at INTEGER NOT NULL,
    PRIMARY KEY (provider, reference)
) STRICT;

CREATE TABLE refunds (
    order_id TEXT NOT NULL PRIMARY KEY REFERENCES orders ON DELETE CASCADE,
    reason TEXT NOT NULL,
    -- When the books were taken back.
    begun_at INTEGER NOT NULL,
    reference TEXT,
    -- When the money was paid back.
    ended_at INTEGER
) STRICT;

-- Which books a user has bought.
CREATE TABLE entitlements (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id TEXT NOT NULL REFERENCES books (id),
    order_id TEXT NOT NULL REFERENCES orders ON DELETE CASCADE,
    bought_at INTEGER NOT NULL,
    -- When a refund took it back.
    revoked_at INTEGER,
    PRIMARY KEY (user_id, book_id)
) STRICT;
CREATE INDEX entitlements_by_time ON entitlements (user_id, bought_at, book_id);
CREATE INDEX entitlements_by_book ON entitlements (book_id);
CREATE INDEX entitlements_by_order ON entitlements (order_id);

-- Where a listener stopped.
CREATE TABLE positions (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    book_id TEXT NOT NULL REFERENCES books (id),
    at_ms INTEGER NOT NULL CHECK (at_ms >= 0),
    -- When that was, by the listener's clock. The latest one counts.
    event_time INTEGER NOT NULL,
    PRIMARY KEY (user_id, book_id)
) STRICT;

-- Orders of deleted users, as bookkeeping needs them: nothing in them names a person.
CREATE TABLE kept_orders (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'refunding', 'refunded')),
    total_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    paid_at INTEGER,
    provider TEXT,
    reference TEXT,
    refunded_at INTEGER
) STRICT;
CREATE INDEX kept_orders_by_time ON kept_orders (created_at, id);
CREATE INDEX kept_orders_by_status ON kept_orders (status, created_at, id);

CREATE TABLE kept_order_lines (
    order_id TEXT NOT NULL REFERENCES kept_orders ON DELETE CASCADE,
    position INTEGER NOT NULL,
    book_id TEXT NOT NULL,
    title TEXT NOT NULL,
    price_minor INTEGER NOT NULL,
    PRIMARY KEY (order_id, position)
) STRICT;

-- The books of the payment provider `mock`, which takes no money.
CREATE TABLE mock_payments (
    order_id TEXT NOT NULL PRIMARY KEY,
    reference TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('paid', 'declined', 'cancelled', 'refunded')),
    amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    refunded_at INTEGER
) STRICT;
