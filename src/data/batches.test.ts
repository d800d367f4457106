import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { bucketBatches, collate, lengthBucket } from './batches.ts';
import { packExamples } from './pack.ts';

const example = (length: number, first = 10) => ({
  ids: Array.from({ length }, (_, i) => first + i),
  mask: Array.from({ length }, (_, i) => (i === 0 ? 0 : 1)),
});

describe('lengthBucket', () => {
  it('rounds up', () => {
    expect([0, 1, 16, 17].map((n) => lengthBucket(n, 16))).toEqual([16, 16, 16, 32]);
  });
});

describe('collate', () => {
  it('pads on the right', () => {
    const batch = collate([example(2), { ...example(1), positions: [7], segments: [3] }], {
      length: 3,
      padId: 9,
      rows: 3,
    });
    expect(Array.from(batch.ids)).toEqual([10, 11, 9, 10, 9, 9, 9, 9, 9]);
    expect(Array.from(batch.mask)).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect(Array.from(batch.positions)).toEqual([0, 1, 0, 7, 0, 0, 0, 0, 0]);
    expect(Array.from(batch.segments)).toEqual([1, 1, 0, 3, 0, 0, 0, 0, 0]);
    expect(() => collate([example(4)], { length: 3, padId: 0 })).toThrow(
      'example 1: expected at most 3 tokens, received 4',
    );
    expect(() => collate([example(1), example(1)], { length: 3, padId: 0, rows: 1 })).toThrow(
      'at most 1 examples',
    );
  });
});

describe('bucketBatches', () => {
  const lengths = [5, 30, 6, 7, 31, 8];

  it('groups by bucket, in order without rng', () => {
    expect(bucketBatches(lengths, { batchSize: 3, multiple: 16 })).toEqual([
      { indices: [0, 2, 3], length: 16 },
      { indices: [5], length: 16 },
      { indices: [1, 4], length: 32 },
    ]);
  });

  it('holds every example once, each epoch in another order, the same for a seed', () => {
    const many = Array.from({ length: 100 }, (_, i) => (i * 37) % 90);
    const batchesOf = (seed: number, epoch: number) =>
      bucketBatches(many, { batchSize: 8, multiple: 32, rng: createRng(seed), epoch });
    const batches = batchesOf(1, 0);
    const indices = batches.flatMap((batch) => batch.indices);
    expect([...indices].sort((a, b) => a - b)).toEqual(many.map((_, i) => i));
    for (const batch of batches) {
      for (const index of batch.indices) expect(lengthBucket(many[index]!, 32)).toBe(batch.length);
    }
    expect(batchesOf(1, 0)).toEqual(batches);
    expect(batchesOf(1, 1)).not.toEqual(batches);
    expect(batchesOf(2, 0)).not.toEqual(batches);
    // Other batches in an epoch, not only the same ones in another order.
    const groups = (epoch: number) => new Set(batchesOf(1, epoch).map((batch) => batch.indices.join()));
    expect(groups(1)).not.toEqual(groups(0));
    // Lengths of batches are mixed, not ascending.
    const order = batches.map((batch) => batch.length);
    expect(order).not.toEqual([...order].sort((a, b) => a - b));
  });
});

describe('packExamples', () => {
  it('fits each example where the least room is left', () => {
    // Lengths 5 4 3 2 2 1 into 8: 5 opens A (3 left); 4 opens B (4 left); 3 fits A exactly; 2 and 2 go to B, which is
    // full; 1 opens C.
    const lengths = [2, 5, 1, 4, 2, 3];
    const packed = packExamples(
      lengths.map((length, i) => example(length, 100 * i)),
      8,
    );
    expect(packed.map(({ sources }) => sources)).toEqual([[1, 5], [3, 0, 4], [2]]);
    const [first] = packed;
    expect(Array.from(first!.ids)).toEqual([100, 101, 102, 103, 104, 500, 501, 502]);
    expect(Array.from(first!.positions)).toEqual([0, 1, 2, 3, 4, 0, 1, 2]);
    expect(Array.from(first!.segments)).toEqual([1, 1, 1, 1, 1, 2, 2, 2]);
    expect(Array.from(first!.mask)).toEqual([0, 1, 1, 1, 1, 0, 1, 1]);
    expect(() => packExamples([example(9)], 8)).toThrow('packExamples, example 1: expected at most 8 tokens');
  });

  it('never learns the first token of an example from the one before', () => {
    const [packed] = packExamples(
      [
        { ids: [1, 2], mask: [1, 1] },
        { ids: [3], mask: [1] },
      ],
      4,
    );
    expect(Array.from(packed!.mask)).toEqual([0, 1, 0]);
  });

  it('keeps every token, within the bound of best-fit decreasing', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const examples = lengths.map((length, i) => example(length, 20 * i));
        const packed = packExamples(examples, 16);
        const sources = packed.flatMap((row) => row.sources);
        expect([...sources].sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
        expect(packed.flatMap((row) => Array.from(row.ids))).toEqual(
          sources.flatMap((i) => examples[i]!.ids),
        );
        const total = lengths.reduce((sum, length) => sum + length, 0);
        for (const row of packed) expect(row.ids.length).toBeLessThanOrEqual(16);
        // No two rows fit into one; so all but one are more than half full.
        expect(packed.length).toBeLessThanOrEqual(2 * Math.ceil(total / 16));
      }),
    );
  });
});
