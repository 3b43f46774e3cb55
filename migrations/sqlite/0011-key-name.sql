-- The name of the API key that made a task; null without a key. Tasks without a key are in none of these indexes.
alter table task add column key_name text;

create index task_list_key on task (key_name, id) where key_name is not null;
create index task_list_key_status on task (key_name, status, id) where key_name is not null;
create index task_list_key_style on task (key_name, style, id) where key_name is not null;
create index task_list_key_status_style on task (key_name, status, style, id) where key_name is not null;
