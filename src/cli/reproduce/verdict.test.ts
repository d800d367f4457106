import { describe, expect, it } from 'vitest';
import { goldAt } from './equal-kl.ts';
import { combine, judgeTest, seedInterval } from './verdict.ts';

describe('seedInterval', () => {
  it('is mean ± t s / √n', () => {
    // s = 1, t(2) = 4.303: 4.303 / √3 = 2.4843.
    const { mean, low, high } = seedInterval([1, 2, 3]);
    expect(mean).toBe(2);
    expect(low).toBeCloseTo(2 - 2.4843, 4);
    expect(high).toBeCloseTo(2 + 2.4843, 4);
    expect(seedInterval([5, 5])).toEqual({ mean: 5, low: 5, high: 5 });
  });

  it('refuses a single seed', () => {
    expect(() => seedInterval([1])).toThrow(/expected at least two seeds, received 1/);
  });
});

const test = { figure: 'gain', says: 'it gains' };
const runs = (...values: number[]) => values.map((gain) => ({ figures: { gain }, curves: [] }));

describe('judgeTest', () => {
  it('shows what all of the interval says, and nothing else', () => {
    expect(judgeTest(test, runs(1, 1.1, 0.9)).verdict).toBe('shown');
    expect(judgeTest(test, runs(-1, -1.1, -0.9)).verdict).toBe('opposite');
    // Every seed gains, and three of them leave too much open.
    expect(judgeTest(test, runs(0.1, 1, 2)).verdict).toBe('not shown');
  });

  it('stops at a figure that is missing or no number', () => {
    expect(() => judgeTest(test, [...runs(1), { figures: {}, curves: [] }])).toThrow(/gain.*finite number/);
    expect(() => judgeTest(test, runs(1, Number.NaN))).toThrow(/received NaN/);
  });
});

it('a claim needs all of its tests, and one opposite turns it', () => {
  const verdicts = (...list: ('shown' | 'not shown' | 'opposite')[]) =>
    combine(list.map((verdict) => ({ verdict })));
  expect(verdicts('shown', 'shown')).toBe('shown');
  expect(verdicts('shown', 'not shown')).toBe('not shown');
  expect(verdicts('shown', 'not shown', 'opposite')).toBe('opposite');
});

describe('goldAt', () => {
  const points = [
    { x: 0, y: 1 },
    { x: 2, y: 3 },
    { x: 1, y: 2.5 },
    { x: 4, y: 0 },
  ];
  it('interpolates, and takes a better policy of less KL', () => {
    // On the way there (1, 2); on the way back (1, 2.5).
    expect(goldAt(points, 1)).toBe(2.5);
    expect(goldAt(points.slice(0, 2), 0.5)).toBe(1.5);
    // Between 1 and 4 the last line gives 1.67 at 2, but the point (2, 3) is within reach.
    expect(goldAt(points, 2)).toBe(3);
    expect(goldAt(points, 4)).toBe(3);
  });
});
