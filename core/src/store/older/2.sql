-- When a task last became ready to start, when the task of an attempt had, and when an attempt was first deferred: so
-- that waiting, running and waiting for a remote job can be told apart. Not known of what ran before.
ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER;
ALTER TABLE attempts ADD COLUMN scheduled_at INTEGER;
ALTER TABLE attempts ADD COLUMN deferred_at INTEGER;
