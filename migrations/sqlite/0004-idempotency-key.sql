create table idempotency_key (
  scope       text    not null,
  key         text    not null,
  fingerprint text    not null,
  task_id     text    not null,
  code        integer not null,
  created_at  integer not null,
  primary key (scope, key)
) strict, without rowid;

create index idempotency_key_age on idempotency_key (created_at);
