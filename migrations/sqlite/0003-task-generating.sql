create index task_generating on task (seq) where stage = 'generating';
