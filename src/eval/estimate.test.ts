import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { estimateMean, estimateShare } from './estimate.ts';

describe('estimateMean', () => {
  it('is exact for equal values and holds the mean between its ends for others', () => {
    expect(estimateMean([2, 2, 2], createRng(0))).toEqual({ mean: 2, low: 2, high: 2 });
    const { mean, low, high } = estimateMean([0, 1, 2, 3, 4], createRng(0));
    expect(mean).toBe(2);
    // Standard error √(2/5) = 0.632; ± 1.96 of them is 0.76 to 3.24, less a fifth at n = 5.
    expect(low).toBeGreaterThan(0.5);
    expect(low).toBeLessThan(1.2);
    expect(high).toBeGreaterThan(2.8);
    expect(high).toBeLessThan(3.5);
  });

  it('covers the true mean of 200 samples of 60 draws about 95 % of the time', () => {
    const rng = createRng(3);
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const values = Array.from({ length: 60 }, (_, i) => rng.normal(trial, i) + 5);
      const { low, high } = estimateMean(values, rng.split('bootstrap').split(trial));
      if (low <= 5 && 5 <= high) covered++;
    }
    // Binomial(200, 0.95): 190 ± 3.1; three deviations, and one more downwards for the bootstrap's narrowness.
    expect(covered).toBeGreaterThanOrEqual(178);
    expect(covered).toBeLessThanOrEqual(199);
  });
});

describe('estimateShare', () => {
  it('is Wilson’s interval: 1 of 2 is 0.0945 to 0.9055', () => {
    const { mean, low, high } = estimateShare([true, false]);
    expect(mean).toBe(0.5);
    expect(low).toBeCloseTo(0.0945, 4);
    expect(high).toBeCloseTo(0.9055, 4);
  });

  it('refuses no trials', () => {
    expect(() => estimateShare([])).toThrow(/wilsonInterval/);
  });
});
