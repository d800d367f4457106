/** run.db: the numbers and rollouts of a run in SQLite, to be asked while it goes on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { CheckpointError } from '../../core/errors.ts';
import { rolloutSchema, rolloutWriter } from './rollout-table.ts';
import { type Sink, type SinkContext, splitRecord } from './sink.ts';

const schema = `
  CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS metrics (
    step INTEGER NOT NULL, name TEXT NOT NULL, value REAL, time REAL NOT NULL, PRIMARY KEY (name, step)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS events (time REAL NOT NULL, event TEXT NOT NULL);
  ${rolloutSchema}
`;

/**
 * Opens `<folder>/run.db` in WAL mode: readers see what is written while the run writes. A step that is done again after
 * a resume replaces its numbers. Times are seconds since 1970.
 *
 * @throws CheckpointError when the file is no database of a run
 */
export function runDbSink({ folder, name, configText, now, rolloutBytes = 0 }: SinkContext): Sink {
  const path = join(folder, 'run.db');
  const database = open(path);
  const write = database.prepare(
    'INSERT OR REPLACE INTO metrics (step, name, value, time) VALUES (?, ?, ?, ?)',
  );
  const note = database.prepare('INSERT INTO events (time, event) VALUES (?, ?)');
  const set = database.prepare('INSERT OR REPLACE INTO run (key, value) VALUES (?, ?)');
  set.run('name', name);
  set.run('config', configText);
  note.run(now() / 1000, 'start');
  return {
    log(record) {
      const { step, values } = splitRecord(record);
      const time = now() / 1000;
      database.exec('BEGIN');
      for (const [metric, value] of values) write.run(step, metric, value, time);
      database.exec('COMMIT');
    },
    rollouts: rolloutWriter(database, rolloutBytes),
    async close(outcome) {
      note.run(now() / 1000, outcome);
      database.close();
    },
  };
}

/**
 * Opens the database of a run for reading, also while it goes on.
 *
 * @throws CheckpointError when the folder has none
 */
export function readRunDb(folder: string): Database.Database {
  const path = join(folder, 'run.db');
  if (!existsSync(path)) {
    throw new CheckpointError({
      where: path,
      expected: 'the database of a run',
      received: 'no such file',
      fix: 'Name the folder that heed trained into, such as runs/grpo-model',
    });
  }
  return open(path, true);
}

function open(path: string, readonly = false): Database.Database {
  try {
    const database = new Database(path, { readonly } as object);
    if (readonly) {
      database.prepare('SELECT count(*) FROM run').get();
      return database;
    }
    database.exec('PRAGMA journal_mode = WAL');
    database.exec(schema);
    return database;
  } catch (cause) {
    throw new CheckpointError({
      where: path,
      expected: 'a database of a run, or none yet',
      received: (cause as Error).message,
      fix: 'Remove the file, or use another --output',
      cause,
    });
  }
}
