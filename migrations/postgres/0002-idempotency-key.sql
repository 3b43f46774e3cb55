create table idempotency_key (
  scope       text    not null,
  key         text    not null,
  fingerprint text    not null,
  task_id     uuid    not null,
  code        integer not null,
  created_at  bigint  not null,
  primary key (scope, key)
);

create index idempotency_key_age on idempotency_key (created_at);
