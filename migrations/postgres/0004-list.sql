-- Each filter of the list is one range of an index, in the order of the list. The expression is what clients see of
-- `stage`; the list asks for it in the same words. Writes wait while an index is made: where the table is so large that
-- this matters, make the same indexes with `create index concurrently` before this release starts.
create index if not exists task_list_status on task (
  (case when stage in ('queued', 'submitting') then 'pending' when stage = 'generating' then 'processing' else stage end), id
);
create index if not exists task_list_style on task (style, id);
create index if not exists task_list_status_style on task (
  (case when stage in ('queued', 'submitting') then 'pending' when stage = 'generating' then 'processing' else stage end), style, id
);
