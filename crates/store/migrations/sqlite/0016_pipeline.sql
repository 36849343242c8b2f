-- The work on audiobooks: steps, windows of the transcription, results that were paid for, calls of providers with their cost, and how
-- providers are.

CREATE TABLE pipelines (
    book_id TEXT NOT NULL PRIMARY KEY REFERENCES books (id),
    -- One more with each redo and each new file.
    generation INTEGER NOT NULL,
    -- The first step that is not done.
    step TEXT NOT NULL CHECK (step IN ('upload', 'transcribe', 'summarise', 'publish', 'done')),
    state TEXT NOT NULL CHECK (state IN ('due', 'running', 'waiting', 'failed', 'done')),
    -- The code of why it waits or has failed, and what it is about.
    cause TEXT,
    detail TEXT,
    -- The group of providers that an admin chose. NULL: as configured.
    provider_group TEXT,
    -- What the book may cost, if an admin set it.
    budget_micro INTEGER CHECK (budget_micro >= 0),
    -- SHA-256 of the file that this generation is of; empty without one.
    source BLOB NOT NULL,
    -- NULL before the windows are known.
    windows_total INTEGER,
    windows_done INTEGER NOT NULL,
    -- The generations whose transcript and whose texts are complete and served.
    transcript INTEGER,
    texts INTEGER,
    -- How often a worker ended in the middle of the step.
    crashes INTEGER NOT NULL,
    -- One more with each change.
    revision INTEGER NOT NULL,
    -- When its task is published next. NULL: it waits for its windows or for an admin, or is done.
    wake_at INTEGER,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX pipelines_by_wake ON pipelines (wake_at);

-- The windows of a book: the parts that are transcribed one by one. They are cut at silence and do not overlap.
CREATE TABLE windows (
    book_id TEXT NOT NULL REFERENCES pipelines,
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    start_ms INTEGER NOT NULL CHECK (start_ms >= 0),
    end_ms INTEGER NOT NULL CHECK (end_ms > start_ms),
    state TEXT NOT NULL CHECK (state IN ('due', 'queued', 'running', 'done', 'failed')),
    -- How often it was published since a worker took it last.
    published INTEGER NOT NULL,
    -- How often a worker took it. What an earlier one reports is refused.
    taken INTEGER NOT NULL,
    -- How often a worker ended with it.
    crashes INTEGER NOT NULL,
    -- The key of its text; empty before it is done.
    checkpoint_key BLOB NOT NULL,
    provider TEXT,
    model TEXT,
    -- Why the text is doubtful.
    flag TEXT,
    cause TEXT,
    detail TEXT,
    -- When its task is published next. NULL: it is done or has failed.
    wake_at INTEGER,
    PRIMARY KEY (book_id, generation, number)
) STRICT;
CREATE INDEX windows_by_wake ON windows (state, wake_at);
CREATE INDEX windows_by_number ON windows (number, wake_at) WHERE state = 'due' AND wake_at IS NOT NULL;
CREATE INDEX windows_by_checkpoint ON windows (checkpoint_key);

-- Results by what they were made from, so that nothing is computed or paid for twice.
CREATE TABLE checkpoints (
    key BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    body BLOB NOT NULL,
    -- NULL: a window has it.
    expires_at INTEGER
) STRICT;
CREATE INDEX checkpoints_by_expiry ON checkpoints (expires_at);

-- Texts of a book that are read in parts, such as its sentences with their times and embeddings.
CREATE TABLE text_parts (
    book_id TEXT NOT NULL REFERENCES pipelines,
    generation INTEGER NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (book_id, generation, kind, number)
) STRICT;

-- Every call of a provider. It outlives its book.
CREATE TABLE provider_calls (
    id TEXT NOT NULL PRIMARY KEY,
    -- NULL for a probe.
    book_id TEXT,
    generation INTEGER NOT NULL,
    step TEXT NOT NULL,
    window_number INTEGER,
    provider TEXT NOT NULL,
    provider_group TEXT NOT NULL,
    model TEXT NOT NULL,
    -- unknown: nobody told how it ended, and what was reserved counts as spent.
    state TEXT NOT NULL CHECK (state IN ('reserved', 'settled', 'unknown')),
    outcome TEXT,
    -- NULL for a provider without a price.
    currency TEXT,
    -- In millionths of the currency's unit.
    reserved_micro INTEGER NOT NULL CHECK (reserved_micro >= 0),
    cost_micro INTEGER CHECK (cost_micro >= 0),
    audio_ms INTEGER,
    tokens_in INTEGER,
    tokens_out INTEGER,
    request_id TEXT,
    -- The day in UTC on which it was reserved, such as 2026-01-02.
    day TEXT NOT NULL,
    reserved_at INTEGER NOT NULL,
    settled_at INTEGER,
    -- When it counts as unknown.
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX provider_calls_by_time ON provider_calls (reserved_at, id);
CREATE INDEX provider_calls_by_book ON provider_calls (book_id, reserved_at, id);
CREATE INDEX provider_calls_by_provider ON provider_calls (provider, reserved_at, id);
CREATE INDEX provider_calls_by_expiry ON provider_calls (expires_at) WHERE state = 'reserved';

-- What is spent or reserved: of a book, and on a day. In step with the calls, in one transaction.
CREATE TABLE provider_spend (
    -- `book <id>` or `day <date>`.
    scope TEXT NOT NULL,
    currency TEXT NOT NULL,
    micro INTEGER NOT NULL,
    PRIMARY KEY (scope, currency)
) STRICT;

-- How providers are. Every worker and every restart knows it.
CREATE TABLE provider_states (
    -- transcribe or summarise.
    task TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The place that an admin gave it. NULL: as in the file.
    position INTEGER,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    -- The configuration with which it refused its key. It is off until it has another one.
    off_config TEXT,
    -- Failures in a row, and cooldowns in a row.
    failures INTEGER NOT NULL,
    cooldowns INTEGER NOT NULL,
    cools_until INTEGER,
    cause TEXT,
    detail TEXT,
    -- One call tries it after a cooldown, until this time.
    probing_until INTEGER,
    revision INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (task, name)
) STRICT;

-- Whose the description is: ai or extract; NULL: an admin's, or there is none.
ALTER TABLE books ADD COLUMN description_source TEXT;
-- How well a category fits, and whose choice it is: ai or extract; NULL: an admin's.
ALTER TABLE book_categories ADD COLUMN score REAL;
ALTER TABLE book_categories ADD COLUMN source TEXT;
