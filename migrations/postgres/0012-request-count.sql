-- How many requests of an API key or an address all instances have counted in the current minute. The rows are not worth a flush to the
-- disk: after a crash of the database the table is empty, and counting begins again.
create unlogged table request_count (
  key     text        primary key,
  points  bigint      not null,
  ends_at timestamptz not null
);
