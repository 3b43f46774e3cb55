-- A random id of this database, in one row. The video archive is marked with it.
create table store_id (
  id text primary key
) strict;

insert into store_id (id) values (lower(hex(randomblob(16))));
