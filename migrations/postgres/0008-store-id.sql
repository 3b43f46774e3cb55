-- A random id of this database, in one row. The video archive is marked with it.
create table store_id (
  id uuid primary key
);

insert into store_id (id) values (gen_random_uuid());
