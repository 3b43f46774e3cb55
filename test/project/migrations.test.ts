import { readdir, readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'

const migrations = new URL('../../migrations/', import.meta.url)
/** They were changed as needed before the first release: no older instance can run beside them. */
const beforeFirstRelease = ['0001', '0002', '0003', '0004', '0005', '0006', '0007', '0008']

/** What an instance of the release before does not notice: new tables, new indexes that refuse no row, columns that it need not write. */
const additions = [
  /^create (?:unlogged )?table \w+ \(/,
  /^create index (?:if not exists )?\w+ on \w+ /,
  /^alter table \w+ add column \w+ (?:(?!not null|unique|primary key|references|check)[^])+$/,
  /^alter table \w+ add column \w+ \w+ not null default [^]+$/,
  /^insert into \w+ /
]

function statementsIn (sql: string): string[] {
  return sql.replace(/--.*$/gm, '').split(';').map((statement) => statement.replace(/\s+/g, ' ').trim()).filter(Boolean)
}

/** @returns the statements that could break an instance of the release before */
function findChanges (sql: string): string[] {
  const statements = statementsIn(sql)
  const created = new Set(statements.flatMap((statement) => /^create (?:unlogged )?table (\w+)/.exec(statement)?.[1] ?? []))
  return statements.filter((statement) => {
    const unique = /^create unique index \w+ on (\w+)/.exec(statement)?.[1]
    return unique === undefined ? !additions.some((addition) => addition.test(statement)) : !created.has(unique)
  })
}

t.test('migrations of PostgreSQL only add, because instances of the release before run on their schema', async (t) => {
  const files = (await readdir(new URL('postgres/', migrations))).filter((name) => !beforeFirstRelease.includes(name.slice(0, 4)))
  t.ok(files.length >= 2)
  for (const name of files) t.same(findChanges(await readFile(new URL(`postgres/${name}`, migrations), 'utf8')), [], name)
})

t.test('the numbers of migrations of SQLite have no gaps, because their count is the version of a file', async (t) => {
  const files = (await readdir(new URL('sqlite/', migrations))).sort()
  t.same(files.map((name) => name.slice(0, 5)), files.map((_, index) => `${String(index + 1).padStart(4, '0')}-`))
})

t.test('a migration that changes or requires something is found', async (t: Test) => {
  for (const sql of [
    'drop table task', 'drop index task_list_status', 'alter table task drop column dream', 'alter table task rename column state to stage',
    'alter table task add column key_name text not null', 'alter table task add column key_name text unique', 'alter table task alter column dream type varchar(10)',
    'alter table task add column a text check (a > 1)', 'create unique index task_dream on task (dream)', 'update task set dream = null', 'delete from task', 'alter table task add constraint a check (dream > 1)'
  ]) t.same(findChanges(`-- A comment;\n${sql};\n`), [sql])
  t.same(findChanges(`create table more (id uuid primary key, name text unique);
    create unique index more_name on more (name); create index task_style on task (style);
    alter table task add column a integer not null default 0; alter table task add column b text; insert into more (id) values (gen_random_uuid());`), [])
})
