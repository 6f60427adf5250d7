-- The id of the data folder that has the file of a data set, as paths of two machines may be equal; empty for
-- data sets of earlier releases.
ALTER TABLE datasets ADD COLUMN place_id TEXT NOT NULL DEFAULT '';

-- The state of a trigger that an event has told: what a process that ended has not told, the next one tells.
ALTER TABLE retrain_triggers ADD COLUMN told TEXT NOT NULL DEFAULT '';

UPDATE retrain_triggers SET told = state;
