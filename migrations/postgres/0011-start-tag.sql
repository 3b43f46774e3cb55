-- The place of a task in the fair order of the queue. Tasks that an instance of the release before makes come first.
alter table task add column start_tag bigint not null default 0;

create index task_queued on task (start_tag) where state = 'queued';
create index task_submitted on task (start_tag) where state in ('submitting', 'generating', 'storing');
create index task_open_key on task (key_name, start_tag) where state in ('queued', 'submitting', 'generating', 'storing');
