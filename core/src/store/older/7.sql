-- The texts of DAG files are packed from here on; those that are there stay as they are.
CREATE TABLE packed_sources (source_key INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
INSERT INTO packed_sources SELECT source_key, text FROM sources;
DROP TABLE sources;
ALTER TABLE packed_sources RENAME TO sources;
