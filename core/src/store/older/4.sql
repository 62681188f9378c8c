-- How often a run found a script in the script cache, and how often not; nothing where it did not ask.
ALTER TABLE runs ADD COLUMN cache_hits INTEGER;
ALTER TABLE runs ADD COLUMN cache_misses INTEGER;
