create table task (
  seq           integer primary key autoincrement,
  id            text    not null unique,
  stage         text    not null check (stage in ('queued', 'submitting', 'generating', 'completed', 'failed')),
  version       integer not null,
  revision      integer not null,
  dream         text    not null,
  style         text    not null,
  created_at    integer not null,
  updated_at    integer not null,
  deadline_at   integer not null,
  submission    text,
  waiting_for   text,
  prediction_id text    unique,
  progress      integer,
  video_url     text,
  failure       text
) strict;

create index task_open on task (seq) where stage in ('queued', 'submitting', 'generating');
create index task_open_deadline on task (deadline_at) where stage in ('queued', 'submitting', 'generating');
