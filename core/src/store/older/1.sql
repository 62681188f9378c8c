-- The metadata database. Times are microseconds since the Unix epoch, states are the codes of
-- `TaskState` and `RunState`, and error, result, metrics, checkpoint and params are JSON.

-- The text of a DAG file; runs of an unchanged file share one row.
CREATE TABLE sources (
    source_key INTEGER PRIMARY KEY,
    text TEXT NOT NULL
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
    journal_applied INTEGER NOT NULL
) STRICT;

CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_dag ON runs (dag_id, started_at);
CREATE INDEX runs_by_state ON runs (state, started_at);

CREATE TABLE tasks (
    run_key INTEGER NOT NULL,
    task INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    engine TEXT NOT NULL,
    state INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    error TEXT,
    result TEXT,
    PRIMARY KEY (run_key, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run_key INTEGER NOT NULL,
    task INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    error TEXT,
    metrics TEXT,
    checkpoint TEXT,
    PRIMARY KEY (run_key, task, attempt)
) STRICT, WITHOUT ROWID;
