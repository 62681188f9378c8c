-- Many tasks in a row, as `schema.sql` tells, in place of `tasks` and `attempts`, from which `migrate.rs` carries over what is there.
CREATE TABLE task_names (task_key INTEGER PRIMARY KEY, count INTEGER NOT NULL, packed BLOB NOT NULL) STRICT;
CREATE TABLE task_progress (task_key INTEGER PRIMARY KEY, packed BLOB NOT NULL) STRICT;
CREATE TABLE long_progress (task_key INTEGER PRIMARY KEY, packed BLOB NOT NULL) STRICT;
