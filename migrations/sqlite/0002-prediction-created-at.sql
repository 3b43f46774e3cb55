alter table task add column prediction_created_at integer;
