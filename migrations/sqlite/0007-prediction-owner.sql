-- To which task a prediction belongs: bound to it, or made for it and not wanted any more. A row outlives its task.
create table prediction_owner (
  prediction_id text    not null primary key,
  task_id       text    not null,
  recorded_at   integer not null
) strict, without rowid;
insert into prediction_owner select prediction_id, id, updated_at from task where prediction_id is not null;
create index prediction_owner_recorded_at on prediction_owner (recorded_at);
create index prediction_owner_task_id on prediction_owner (task_id);

create index task_unresolved on task (deadline_at) where submission is not null and prediction_id is null;
