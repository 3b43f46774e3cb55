-- The place of a task in the fair order of the queue. Tasks that were queued before have the same place, and keep the order of `seq`,
-- which is the last column of each of these indexes. Tasks are claimed by the index of queued tasks from now on.
alter table task add column start_tag integer not null default 0;

create index task_queued on task (start_tag) where state = 'queued';
create index task_submitted on task (start_tag) where state in ('submitting', 'generating', 'storing');
create index task_open_key on task (key_name, start_tag) where state in ('queued', 'submitting', 'generating', 'storing');
drop index task_open;
