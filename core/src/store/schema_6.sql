-- The tasks of a run, many in a row: their names, which are written when the run begins or grows, and how far they have got.
-- A key is that of the run, times 2^32, and the number of the row's first task, so the rows of a run lie together. What is
-- packed in a row, and how, `names.rs`, `chunk.rs` and `progress.rs` say. They take the place of `tasks` and `attempts`, from
-- which `migrate.rs` carries over what is there.
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
