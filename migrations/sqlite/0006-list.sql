-- What clients see of `stage`, so that each filter of the list is one range of an index, in the order of the list.
alter table task add column status text generated always as (
  case when stage in ('queued', 'submitting') then 'pending' when stage = 'generating' then 'processing' else stage end
) virtual;

create index task_list_status on task (status, id);
create index task_list_style on task (style, id);
create index task_list_status_style on task (status, style, id);
