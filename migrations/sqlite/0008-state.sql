-- The service calls it the state of a task. SQLite renames it in the indexes and in the generated column as well, and
-- rewrites no row.
alter table task rename column stage to state;
