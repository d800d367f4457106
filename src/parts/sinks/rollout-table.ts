/** The rollouts of a run in run.db: written by the run, read by `heed rollouts`. */
import type Database from 'libsql';
import type { RolloutFlag, RolloutRecord } from '../rollout/record.ts';

/** Numbers per token are float32, token ids int32, both in the byte order of the machine; `flags` is `,a,b,`. */
export const rolloutSchema = `
  CREATE TABLE IF NOT EXISTS rollouts (
    step INTEGER NOT NULL, sample INTEGER NOT NULL, group_id INTEGER NOT NULL, weight_version INTEGER NOT NULL,
    prompt TEXT NOT NULL, completion TEXT NOT NULL, finish TEXT NOT NULL, tokens INTEGER NOT NULL,
    score REAL, reward REAL, advantage REAL, kl REAL, rewards TEXT NOT NULL, parts TEXT NOT NULL, flags TEXT NOT NULL,
    prompt_ids BLOB NOT NULL, ids BLOB NOT NULL, log_probs BLOB NOT NULL,
    reference_log_probs BLOB, "values" BLOB, advantages BLOB, bytes INTEGER NOT NULL,
    PRIMARY KEY (step, sample)
  );
`;

/**
 * Writes iterations. One that is done again, after a resume or a roll-back, replaces itself and all that came after it. Beyond
 * `limit` bytes the oldest iterations go; the newest always stays.
 */
export function rolloutWriter(
  database: Database.Database,
  limit: number,
): (records: readonly RolloutRecord[]) => void {
  const columns = [
    ...['step', 'sample', 'group_id', 'weight_version', 'prompt', 'completion', 'finish', 'tokens'],
    ...['score', 'reward', 'advantage', 'kl', 'rewards', 'parts', 'flags', 'prompt_ids', 'ids', 'log_probs'],
    ...['reference_log_probs', '"values"', 'advantages', 'bytes'],
  ];
  const insert = database.prepare(
    `INSERT INTO rollouts (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  );
  const replaced = database.prepare('DELETE FROM rollouts WHERE step >= ?');
  const total = database.prepare('SELECT coalesce(sum(bytes), 0) AS bytes FROM rollouts');
  const oldest = database.prepare('SELECT min(step) AS step FROM rollouts WHERE step < ?');
  const drop = database.prepare('DELETE FROM rollouts WHERE step = ?');
  return (records) => {
    const step = records[0]?.step;
    if (step === undefined || limit <= 0) return;
    database.exec('BEGIN');
    try {
      replaced.run(step);
      for (const record of records) insert.run(...rowOf(record));
      while ((total.get() as { bytes: number }).bytes > limit) {
        const first = (oldest.get(step) as { step: number | null }).step;
        if (first === null) break;
        drop.run(first);
      }
      database.exec('COMMIT');
    } catch (cause) {
      database.exec('ROLLBACK');
      throw cause;
    }
  };
}

function rowOf(record: RolloutRecord): unknown[] {
  const { advantages, logProbs, referenceLogProbs } = record;
  const blobs = [
    ...[ints(record.promptIds), ints(record.ids), floats(logProbs)],
    ...[referenceLogProbs, record.values, advantages].map((list) =>
      list === undefined ? null : floats(list),
    ),
  ];
  const texts = [record.prompt, record.completion];
  const sum = (list: ArrayLike<number>): number => Array.from(list).reduce((total, x) => total + x, 0);
  return [
    ...[record.step, record.sample, record.group, record.weightVersion, ...texts, record.finish],
    ...[record.ids.length, record.score ?? null, record.reward ?? null],
    advantages === undefined ? null : sum(advantages) / advantages.length,
    referenceLogProbs === undefined ? null : sum(logProbs) - sum(referenceLogProbs),
    ...[
      JSON.stringify(record.rewards),
      JSON.stringify(record.parts),
      record.flags.length === 0 ? '' : `,${record.flags.join(',')},`,
    ],
    ...blobs,
    blobs.reduce((bytes, blob) => bytes + (blob?.length ?? 0), 0) +
      texts.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0),
  ];
}

const ints = (list: ArrayLike<number>): Buffer => Buffer.from(Int32Array.from(list).buffer);
const floats = (list: ArrayLike<number>): Buffer => Buffer.from(Float32Array.from(list).buffer);

/** A rollout as it is listed: without its lists, with the mean advantage and the KL to the reference (Σ log π/π_ref, nats). */
export type RolloutSummary = Pick<
  RolloutRecord,
  | 'step'
  | 'sample'
  | 'group'
  | 'prompt'
  | 'completion'
  | 'finish'
  | 'rewards'
  | 'parts'
  | 'flags'
  | 'weightVersion'
> & {
  readonly tokens: number;
  readonly score: number | null;
  readonly reward: number | null;
  readonly advantage: number | null;
  readonly kl: number | null;
};

export const rolloutOrders = ['step', 'score', 'reward', 'advantage', 'kl', 'tokens'] as const;

/** Bounds are inclusive. */
export interface RolloutQuery {
  readonly steps?: readonly [number, number];
  readonly scores?: readonly [number, number];
  readonly rewards?: readonly [number, number];
  /** All of them. */
  readonly flags?: readonly RolloutFlag[];
  /** Part of the prompt or the completion, whatever the case. */
  readonly text?: string;
  readonly order: (typeof rolloutOrders)[number];
  readonly descending: boolean;
  readonly limit: number;
  readonly offset: number;
}

/** Rollouts that fit, in order, and how many there are in all. */
export function findRollouts(
  database: Database.Database,
  query: RolloutQuery,
): { readonly total: number; readonly rollouts: RolloutSummary[] } {
  const conditions: string[] = [];
  const values: unknown[] = [];
  const within = (column: string, range: readonly [number, number] | undefined): void => {
    if (range === undefined) return;
    conditions.push(`${column} BETWEEN ? AND ?`);
    values.push(...range);
  };
  within('step', query.steps);
  within('score', query.scores);
  within('reward', query.rewards);
  for (const flag of query.flags ?? []) {
    conditions.push("instr(flags, ',' || ? || ',') > 0");
    values.push(flag);
  }
  if (query.text !== undefined) {
    conditions.push('(instr(lower(prompt), lower(?)) > 0 OR instr(lower(completion), lower(?)) > 0)');
    values.push(query.text, query.text);
  }
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const direction = query.descending ? 'DESC' : 'ASC';
  const total = database.prepare(`SELECT count(*) AS total FROM rollouts ${where}`).get(...values);
  const rows = database
    .prepare(
      `SELECT step, sample, group_id, weight_version, prompt, completion, finish, tokens, score, reward, advantage, kl, rewards, parts, flags
       FROM rollouts ${where} ORDER BY ${query.order} ${direction} NULLS LAST, step, sample LIMIT ? OFFSET ?`,
    )
    .all(...values, query.limit, query.offset);
  return { total: (total as { total: number }).total, rollouts: (rows as Row[]).map(summaryOf) };
}

/** One rollout with all of its numbers; undefined when there is none. */
export function readRollout(
  database: Database.Database,
  step: number,
  sample: number,
): (RolloutSummary & RolloutLists) | undefined {
  const row = database.prepare('SELECT * FROM rollouts WHERE step = ? AND sample = ?').get(step, sample) as
    | Row
    | undefined;
  if (row === undefined) return undefined;
  const read = (blob: Uint8Array | null): number[] | undefined => (blob === null ? undefined : numbers(blob));
  const lists = {
    referenceLogProbs: read(row.reference_log_probs),
    values: read(row.values),
    advantages: read(row.advantages),
  };
  return {
    ...summaryOf(row),
    promptIds: integers(row.prompt_ids),
    ids: integers(row.ids),
    logProbs: numbers(row.log_probs),
    ...(Object.fromEntries(Object.entries(lists).filter(([, list]) => list !== undefined)) as object),
  };
}

/** The numbers of a rollout per token. */
export interface RolloutLists {
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
  readonly referenceLogProbs?: readonly number[];
  readonly values?: readonly number[];
  readonly advantages?: readonly number[];
}

interface Row {
  readonly step: number;
  readonly sample: number;
  readonly group_id: number;
  readonly weight_version: number;
  readonly prompt: string;
  readonly completion: string;
  readonly finish: 'stop' | 'length';
  readonly tokens: number;
  readonly score: number | null;
  readonly reward: number | null;
  readonly advantage: number | null;
  readonly kl: number | null;
  readonly rewards: string;
  readonly parts: string;
  readonly flags: string;
  readonly prompt_ids: Uint8Array;
  readonly ids: Uint8Array;
  readonly log_probs: Uint8Array;
  readonly reference_log_probs: Uint8Array | null;
  readonly values: Uint8Array | null;
  readonly advantages: Uint8Array | null;
}

function summaryOf(row: Row): RolloutSummary {
  const { step, sample, prompt, completion, finish, tokens, score, reward, advantage, kl } = row;
  return {
    ...{ step, sample, group: row.group_id, weightVersion: row.weight_version, prompt, completion, finish },
    ...{ tokens, score, reward, advantage, kl },
    rewards: JSON.parse(row.rewards) as Record<string, number>,
    parts: JSON.parse(row.parts) as Record<string, number>,
    flags: row.flags.split(',').filter((flag) => flag !== '') as RolloutFlag[],
  };
}

/** A copy: SQLite gives bytes at any address. */
const aligned = (blob: Uint8Array): ArrayBuffer => Uint8Array.from(blob).buffer;
const integers = (blob: Uint8Array): number[] => Array.from(new Int32Array(aligned(blob)));
const numbers = (blob: Uint8Array): number[] => Array.from(new Float32Array(aligned(blob)));
