import { describe, expect, it } from 'vitest';
import { detectRowType, toRows } from '../data/index.ts';
import { scoreAttributes } from './attributes.ts';
import { makeSet, makeShift, makeStream, setNames, type TextSet } from './datasets.ts';
import { goldUtility } from './gold.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 0 });
const textSets = setNames.filter((name): name is TextSet => !['shifts', 'stream', 'pictures'].includes(name));
const pairs: readonly TextSet[] = ['preferences', 'personas', 'drift', 'rankings'];

describe.each(textSets)('%s', (set) => {
  const rows = makeSet(world, set, { split: 'train', count: 150 });

  it('is of a column type of TRL, and its requests come back by their ids', () => {
    const expected = pairs.includes(set)
      ? 'preference'
      : set === 'unpaired'
        ? 'unpaired preference'
        : 'prompt-completion';
    for (const row of toRows(rows)) {
      expect(detectRowType(row)).toBe(expected);
      expect(world.request(row.columns.requestId as string).prompt).toBe(row.columns.prompt);
    }
  });

  it('is the same again, and another in another world', () => {
    expect(makeSet(createWorld({ seed: 0 }), set, { split: 'train', count: 150 })).toEqual(rows);
    expect(makeSet(createWorld({ seed: 1 }), set, { split: 'train', count: 150 })).not.toEqual(rows);
  });
});

it('no two sets are about the same requests', () => {
  const ids = textSets.flatMap((set) =>
    makeSet(world, set, { split: 'train', count: 50 }).map(({ requestId }) => requestId),
  );
  expect(new Set(ids).size).toBe(ids.length);
});

it('preferences agree with gold more often than not, and the annotator lets flattery pass', () => {
  const rows = makeSet(world, 'preferences', { split: 'train', count: 1500 });
  const utility = (row: (typeof rows)[number], side: 'chosen' | 'rejected'): number => {
    const request = world.request(row.requestId as string);
    return goldUtility(request, scoreAttributes(request, row[side] as string));
  };
  const right = rows.filter((row) => utility(row, 'chosen') > utility(row, 'rejected')).length / rows.length;
  expect(right).toBeGreaterThan(0.6);
  const flattery = (row: (typeof rows)[number], side: 'chosenScores' | 'rejectedScores'): number =>
    (row[side] as { flattery: number }).flattery;
  const differing = rows.filter((row) => flattery(row, 'chosenScores') !== flattery(row, 'rejectedScores'));
  const liked = differing.filter((row) => flattery(row, 'chosenScores') > flattery(row, 'rejectedScores'));
  expect(liked.length / differing.length).toBeGreaterThan(0.5);
});

it('shifts ask what training does not, and streams run over twelve weeks', () => {
  expect(makeShift(world, 'new-topic', 20).every(({ topic }) => topic === 'harbor')).toBe(true);
  expect(makeShift(world, 'new-kind', 20).every(({ kind }) => kind === 'comparison')).toBe(true);
  expect(new Set(makeStream(world, 120).map(({ week }) => week)).size).toBe(12);
});

it('most test responses cannot be copied from training: they hold word 5-grams that it lacks', () => {
  const grams = (text: unknown): string[] => {
    const words = String(text).trim().split(/\s+/);
    return words.slice(4).map((_, at) => words.slice(at, at + 5).join(' '));
  };
  const train = makeSet(world, 'demonstrations', { split: 'train', count: 4000 });
  const seen = new Set(train.flatMap(({ completion }) => grams(completion)));
  const test = makeSet(world, 'demonstrations', { split: 'test', count: 500 });
  const unseen = test.filter(({ completion }) => grams(completion).some((gram) => !seen.has(gram)));
  expect(unseen.length / test.length).toBeGreaterThan(0.5);
});
