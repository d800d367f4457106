import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RolloutRecord } from '../rollout/record.ts';
import {
  findRollouts,
  type RolloutQuery,
  readRollout,
  rolloutSchema,
  rolloutWriter,
} from './rollout-table.ts';

let database: Database.Database;
beforeEach(() => {
  database = new Database(':memory:');
  database.exec(rolloutSchema);
});
afterEach(() => database.close());

const record = (step: number, sample: number, changes: Partial<RolloutRecord> = {}): RolloutRecord => ({
  ...{ step, sample, group: 0, prompt: 'Sum of 2 and 3?', completion: `It is ${sample}.` },
  ...{
    promptIds: [1, 2],
    ids: [7, 8, 9],
    logProbs: [-1, -2, -0.5],
    rewards: { polite: sample },
    parts: { score: sample },
    flags: [],
  },
  ...{ score: sample, reward: sample - 0.5, finish: 'stop', weightVersion: step - 1 },
  ...changes,
});
const all: RolloutQuery = { order: 'step', descending: false, limit: 100, offset: 0 };
const ids = (query: Partial<RolloutQuery> = {}): string[] =>
  findRollouts(database, { ...all, ...query }).rollouts.map(({ step, sample }) => `${step}:${sample}`);

it('gives back the numbers that were written, and what follows from them', () => {
  rolloutWriter(
    database,
    1e6,
  )([
    record(3, 0, {
      referenceLogProbs: [-1.5, -1.75, -0.5],
      advantages: [0.5, 0.25, -0.125],
      values: [1, 2, 3],
    }),
    record(3, 1, { flags: ['truncated', 'unscored'], finish: 'length' }),
  ]);
  expect(readRollout(database, 3, 0)).toMatchObject({
    ...{ ids: [7, 8, 9], promptIds: [1, 2], logProbs: [-1, -2, -0.5], values: [1, 2, 3] },
    ...{
      referenceLogProbs: [-1.5, -1.75, -0.5],
      advantages: [0.5, 0.25, -0.125],
      parts: { score: 0 },
      rewards: { polite: 0 },
    },
    ...{ tokens: 3, kl: 0.25, finish: 'stop', flags: [], weightVersion: 2 },
    advantage: expect.closeTo(0.625 / 3, 12),
  });
  const second = readRollout(database, 3, 1)!;
  expect(second).toMatchObject({ flags: ['truncated', 'unscored'], advantage: null, kl: null });
  expect(second).not.toHaveProperty('values');
  expect(readRollout(database, 4, 0)).toBeUndefined();
});

describe('finding', () => {
  beforeEach(() => {
    const write = rolloutWriter(database, 1e6);
    write([record(1, 0), record(1, 1, { flags: ['truncated'] }), record(1, 2, { completion: 'SORRY' })]);
    write([record(2, 0, { score: 5, flags: ['truncated', 'filtered'] }), record(2, 1, { prompt: 'sorry?' })]);
  });

  it.each([
    [{ steps: [2, Infinity] }, ['2:0', '2:1']],
    [{ scores: [1, 2] }, ['1:1', '1:2', '2:1']],
    [{ rewards: [-0.5, 0.4] }, ['1:0', '2:0']],
    [{ flags: ['truncated'] }, ['1:1', '2:0']],
    [{ flags: ['truncated', 'filtered'] }, ['2:0']],
    [{ text: 'Sorry' }, ['1:2', '2:1']],
    [{ order: 'score', descending: true, limit: 2 }, ['2:0', '1:2']],
    [{ limit: 2, offset: 3 }, ['2:0', '2:1']],
  ] as [Partial<RolloutQuery>, string[]][])('%j', (query, expected) => {
    expect(ids(query)).toEqual(expected);
  });

  it('counts all that fit, not only those on the page', () => {
    expect(findRollouts(database, { ...all, flags: ['truncated'], limit: 1 }).total).toBe(2);
  });
});

it('an iteration that is done again replaces itself and what came after', () => {
  const write = rolloutWriter(database, 1e6);
  for (const step of [1, 2, 3]) write([record(step, 0), record(step, 1)]);
  write([record(2, 0, { score: 9 })]);
  expect(ids()).toEqual(['1:0', '1:1', '2:0']);
  expect(readRollout(database, 2, 0)!.score).toBe(9);
});

it('beyond the limit the oldest iterations go, never the newest', () => {
  const size = 4 * 8 + 'Sum of 2 and 3?It is 0.'.length; // two prompt ids, three ids, three log-probabilities
  const write = rolloutWriter(database, 4 * size);
  for (const step of [1, 2, 3]) write([record(step, 0), record(step, 1)]);
  expect(ids()).toEqual(['2:0', '2:1', '3:0', '3:1']);
  write(Array.from({ length: 9 }, (_, sample) => record(4, sample)));
  expect(ids()).toHaveLength(9);
  rolloutWriter(database, 0)([record(5, 0)]);
  expect(ids({ steps: [5, 5] })).toEqual([]);
});
