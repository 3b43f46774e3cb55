-- The state `storing`, between `generating` and `completed`, and what is known of a video and its poster. `video_url` stays
-- the provider's address. An instance of the release before does not know the state `storing`.
alter table task drop constraint task_stage_check;
alter table task add constraint task_state_check
  check (state in ('queued', 'submitting', 'generating', 'storing', 'completed', 'failed')) not valid;
alter table task
  add column poster_source_url text,
  add column video_name        text,
  add column video_file        text,
  add column video_work        text,
  add column poster_name       text,
  add column poster_file       text,
  add column origin            text;

create unique index task_video_name on task (video_name) where video_name is not null;
create unique index task_poster_name on task (poster_name) where poster_name is not null;
create index task_video_work on task (id) where video_work is not null;
create index task_ended on task (updated_at) where state in ('completed', 'failed');

drop index task_open_deadline;
create index task_open_deadline on task (deadline_at) where state in ('queued', 'submitting', 'generating', 'storing');
create index task_storing on task (id) where state = 'storing';
-- What clients see of `state`; the list asks for it in the same words.
drop index task_list_status;
create index task_list_status on task (
  (case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end), id
);
drop index task_list_status_style;
create index task_list_status_style on task (
  (case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end), style, id
);

-- Which instance does a kind of work for all, and until when. The release before uses `search_lease` instead.
create table lease (
  work       text        primary key,
  holder     uuid        not null,
  expires_at timestamptz not null
);
