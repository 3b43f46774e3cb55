-- Names as the service uses them: the state of a task, GCRA's theoretical arrival time (tat), the lease of the search.
-- Renaming rewrites no row, and indexes follow. An instance of an older version fails from here on, so this was done
-- before the first release: later migrations only add.
alter table task rename column stage to state;
alter table call_budget rename column even_at to tat;
alter table call_budget rename column blocked_until to paused_until;
alter table search_turn rename to search_lease;
