-- The metadata database, as a new one is made. Times are microseconds since the Unix epoch, states are the codes of `RunState`, and
-- error and params are JSON. `older` has the steps that lead here from older versions.

-- The text of a DAG file, packed as `source.rs` says; runs of an unchanged file share one row.
CREATE TABLE sources (
    source_key INTEGER PRIMARY KEY,
    text ANY NOT NULL
) STRICT;

CREATE TABLE runs (
    run_key INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    dag_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    error TEXT,
    environment TEXT,
    dag_path TEXT NOT NULL,
    params TEXT NOT NULL,
    source_key INTEGER NOT NULL,
    -- How much of the run's journal is in these tables: a byte offset.
    journal_applied INTEGER NOT NULL,
    -- Which plugins.toml it began with: so that it goes on with the same engines and connections.
    plugins TEXT,
    -- How often it found a script in the script cache, and how often not; nothing where it did not ask.
    cache_hits INTEGER,
    cache_misses INTEGER
) STRICT;

CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_dag ON runs (dag_id, started_at);
CREATE INDEX runs_by_state ON runs (state, started_at);

-- How the graphs of runs have grown, in order: when, why (JSON), and by which tasks.
CREATE TABLE growth (
    run_key INTEGER NOT NULL,
    number INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (run_key, number)
) STRICT, WITHOUT ROWID;

-- The tasks of a run, many in a row: their names, which are written when the run begins or grows, and how far they have got.
-- A key is that of the run, times 2^32, and the number of the row's first task, so the rows of a run lie together. What is
-- packed in a row, and how, `names.rs`, `chunk.rs` and `progress.rs` say.
CREATE TABLE task_names (
    task_key INTEGER PRIMARY KEY,
    -- How many tasks are in the row.
    count INTEGER NOT NULL,
    packed BLOB NOT NULL
) STRICT;

-- A row for the tasks from each multiple of 64 on, once something happened to one of them.
CREATE TABLE task_progress (
    task_key INTEGER PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT;

-- Those single tasks of which there is too much to tell to be written again with each of their neighbours.
CREATE TABLE long_progress (
    task_key INTEGER PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT;
