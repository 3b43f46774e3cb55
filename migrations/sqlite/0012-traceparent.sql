-- The span of the request that created a task, as W3C Trace Context writes it: all later spans of the task belong to its trace.
alter table task add column traceparent text;
