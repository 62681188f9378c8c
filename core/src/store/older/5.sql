-- How the graphs of runs have grown, in order: when, why (JSON), and by which tasks; and from which task each of those grew.
CREATE TABLE growth (
    run_key INTEGER NOT NULL,
    number INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (run_key, number)
) STRICT, WITHOUT ROWID;
ALTER TABLE tasks ADD COLUMN grown_from INTEGER;
