-- The name of the API key that made a task; null without a key, and in tasks that an instance of the release before makes. Tasks without
-- a key are in none of these indexes, so they are empty at first.
alter table task add column key_name text;

create index task_list_key on task (key_name, id) where key_name is not null;
create index task_list_key_status on task (
  key_name, (case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end), id
) where key_name is not null;
create index task_list_key_style on task (key_name, style, id) where key_name is not null;
create index task_list_key_status_style on task (
  key_name, (case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end), style, id
) where key_name is not null;
