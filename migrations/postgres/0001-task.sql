create table task (
  id                    uuid   primary key,
  stage                 text   not null check (stage in ('queued', 'submitting', 'generating', 'completed', 'failed')),
  version               integer not null,
  revision              integer not null,
  dream                 text   not null,
  style                 text   not null,
  created_at            bigint not null,
  updated_at            bigint not null,
  deadline_at           bigint not null,
  submission            text,
  waiting_for           text,
  prediction_id         text   unique,
  prediction_created_at bigint,
  progress              integer,
  video_url             text,
  failure               text
);

create index task_open_deadline on task (deadline_at) where stage in ('queued', 'submitting', 'generating');
create index task_generating on task (prediction_created_at) where stage = 'generating';

-- What the calls of all instances to the provider have used of its limits: one row for each kind of call.
create table call_budget (
  kind          text primary key,
  even_at       timestamptz not null default '-infinity',
  blocked_until timestamptz not null default '-infinity'
);
insert into call_budget (kind) values ('create'), ('read');

-- When the next sweep over the provider's list is due, whoever makes it.
create table sweep (
  due_at timestamptz not null
);
insert into sweep (due_at) values ('-infinity');
