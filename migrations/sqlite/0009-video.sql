-- The state `storing`, between `generating` and `completed`, and what is known of a video and its poster. `video_url` stays
-- the provider's address. SQLite cannot change a check or a generated column, so the table is written anew.
create table new_task (
  seq                   integer primary key autoincrement,
  id                    text    not null unique,
  state                 text    not null check (state in ('queued', 'submitting', 'generating', 'storing', 'completed', 'failed')),
  version               integer not null,
  revision              integer not null,
  dream                 text    not null,
  style                 text    not null,
  created_at            integer not null,
  updated_at            integer not null,
  deadline_at           integer not null,
  submission            text,
  waiting_for           text,
  prediction_id         text    unique,
  prediction_created_at integer,
  progress              integer,
  video_url             text,
  poster_source_url     text,
  video_name            text,
  video_file            text,
  video_work            text,
  poster_name           text,
  poster_file           text,
  failure               text,
  callback_url          text,
  origin                text,
  -- What clients see of `state`, so that each filter of the list is one range of an index, in the order of the list.
  status text generated always as (
    case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end
  ) virtual
) strict;

insert into new_task (
  seq, id, state, version, revision, dream, style, created_at, updated_at, deadline_at, submission, waiting_for, prediction_id,
  prediction_created_at, progress, video_url, failure, callback_url
) select
  seq, id, state, version, revision, dream, style, created_at, updated_at, deadline_at, submission, waiting_for, prediction_id,
  prediction_created_at, progress, video_url, failure, callback_url
from task order by seq;
drop table task;
alter table new_task rename to task;

create index task_open on task (seq) where state in ('queued', 'submitting', 'generating', 'storing');
create index task_open_deadline on task (deadline_at) where state in ('queued', 'submitting', 'generating', 'storing');
create index task_generating on task (seq) where state = 'generating';
create index task_storing on task (seq) where state = 'storing';
create index task_unresolved on task (deadline_at) where submission is not null and prediction_id is null;
create index task_list_status on task (status, id);
create index task_list_style on task (style, id);
create index task_list_status_style on task (status, style, id);
create unique index task_video_name on task (video_name) where video_name is not null;
create unique index task_poster_name on task (poster_name) where poster_name is not null;
create index task_video_work on task (id) where video_work is not null;
create index task_ended on task (updated_at) where state in ('completed', 'failed');
