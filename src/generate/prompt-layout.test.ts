import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layoutPrompts, prefillTokens, runsOf } from './prompt-layout.ts';

const padded = (length: number): number => 16 * Math.ceil(length / 16);

describe('layoutPrompts', () => {
  it('puts short prompts into one row', () => {
    expect(layoutPrompts([5, 9, 2], 512, padded)).toEqual({
      ...{ rows: 1, columns: 16, packed: true },
      places: [
        { row: 0, start: 0 },
        { row: 0, start: 5 },
        { row: 0, start: 14 },
      ],
    });
  });
  it('leaves prompts alone that fill their rows', () => {
    expect(layoutPrompts([30, 32, 31, 29], 512, padded)).toEqual({
      ...{ rows: 4, columns: 32, packed: false },
      places: [0, 1, 2, 3].map((row) => ({ row, start: 0 })),
    });
    expect(layoutPrompts([7], 512, padded)).toMatchObject({ rows: 1, columns: 16, packed: false });
  });
  it('keeps every prompt whole, apart from the others, inside rows that the model can take, with no more padding', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 70 }),
        fc.constantFrom(100, 120, 128, 512),
        (lengths, longest) => {
          const { rows, columns, packed, places } = layoutPrompts(lengths, longest, padded);
          expect(columns).toBeLessThanOrEqual(longest);
          const taken = new Set<number>();
          lengths.forEach((length, i) => {
            const { row, start } = places[i]!;
            expect(row).toBeLessThan(rows);
            expect(start + length).toBeLessThanOrEqual(columns);
            if (!packed) expect([row, start]).toEqual([i, 0]);
            for (let t = start; t < start + length; t++) {
              expect(taken.has(row * columns + t)).toBe(false);
              taken.add(row * columns + t);
            }
          });
          const alone =
            2 ** Math.ceil(Math.log2(lengths.length)) * Math.min(padded(Math.max(...lengths)), longest);
          expect(rows * columns).toBeLessThanOrEqual(alone);
        },
      ),
    );
  });
});

describe('runsOf', () => {
  it('cuts where the next prompt would make a run too large, and leaves one that is larger alone', () => {
    expect(runsOf([100, 100, 300], 256)).toEqual([
      [0, 2],
      [2, 3],
    ]);
    expect(runsOf([10, 100, 100], 256)).toEqual([
      [0, 2],
      [2, 3],
    ]);
    expect(runsOf([64, 64, 64, 64], 256)).toEqual([[0, 4]]);
    expect(runsOf([7], 1)).toEqual([[0, 1]]);
  });
  it('gives every prompt to one run, in order, within the bound', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 6000 }), { minLength: 1, maxLength: 70 }), (lengths) => {
        const runs = runsOf(lengths, prefillTokens);
        expect(runs.flatMap(([start, end]) => lengths.slice(start, end))).toEqual(lengths);
        for (const [start, end] of runs) {
          const size = (end - start) * Math.max(...lengths.slice(start, end));
          expect(size <= prefillTokens || end === start + 1).toBe(true);
        }
      }),
    );
  });
});
