alter table task add column callback_url text;

create table callback_delivery (
  task_id text    primary key,
  attempt integer not null,
  due_at  integer not null
) strict, without rowid;

create index callback_delivery_due on callback_delivery (due_at);
