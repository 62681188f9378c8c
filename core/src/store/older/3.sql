-- Which plugins.toml a run began with: so that it goes on with the same engines and connections.
ALTER TABLE runs ADD COLUMN plugins TEXT;
