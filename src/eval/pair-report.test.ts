import { expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { pairReport } from './pair-report.ts';

it('counts right pairs by group, ties as wrong, each group once in their mean', () => {
  const groups = [
    { name: 'all', indices: [0, 1, 2, 3, 4] },
    { name: 'a', indices: [0, 1, 2, 3] },
    { name: 'b', indices: [4] },
  ];
  const report = pairReport([1, 2, 0, -1, 3], groups, { rng: createRng(0) });
  expect(
    report.groups.map(({ name, pairs, accuracy, tieRate }) => [name, pairs, accuracy.mean, tieRate]),
  ).toEqual([
    ['all', 5, 0.6, 0.2],
    ['a', 4, 0.5, 0.25],
    ['b', 1, 1, 0],
  ]);
  expect(report.meanOfGroups).toBe(0.75);
  expect(report.groups[0]!.accuracy.low).toBeLessThan(0.6);
  expect(() => pairReport([1, 1, 1], groups.slice(0, 1), { rng: createRng(0) })).toThrow(/at least 4 pairs/);
});

it('fits the temperature on one half and shows on the other that it helps', () => {
  const rng = createRng(4);
  // Margins three times too large for how often the chosen side wins.
  const margins = Array.from({ length: 4000 }, (_, i) => {
    const margin = 2 * rng.normal(i);
    return 3 * (rng.uniform(i, 1) < 1 / (1 + Math.exp(-margin)) ? margin : -margin);
  });
  const all = [{ name: 'all', indices: margins.map((_, i) => i) }];
  const { temperature, fittedOn, before, after } = pairReport(margins, all, { rng: createRng(1), bins: 5 });
  expect(fittedOn).toBe(2000);
  expect(temperature).toBeGreaterThan(2.6);
  expect(temperature).toBeLessThan(3.4);
  expect(before.ece).toBeGreaterThan(3 * after.ece);
  expect(after.bins.reduce((sum, { count }) => sum + count, 0)).toBe(2000);
  expect(after.bins.length).toBe(5);
});
