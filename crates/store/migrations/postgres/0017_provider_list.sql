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
