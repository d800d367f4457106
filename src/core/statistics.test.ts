import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from './errors.ts';
import { createRng } from './rng.ts';
import {
  bootstrapInterval,
  clusteredMean,
  mean,
  mergeMoments,
  momentsOf,
  noMoments,
  normalCdf,
  normalQuantile,
  quantile,
  standardDeviation,
  standardError,
  variance,
  varianceOf,
  wilsonInterval,
} from './statistics.ts';

const values = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 30 });

describe('mean, variance, error', () => {
  it('are those of the definitions', () => {
    expect(mean([1, 2, 6])).toBe(3);
    // Distances −1.5, −0.5, 0.5, 1.5: squares sum to 5.
    expect(variance([1, 2, 3, 4], 'population')).toBe(1.25);
    expect(variance([1, 2, 3, 4], 'sample')).toBe(5 / 3);
    expect(standardDeviation([1, 2, 3, 4], 'population')).toBe(Math.sqrt(1.25));
    expect(standardError([1, 3])).toBe(1);
    expect(standardError(Float64Array.of(1, 2, 3, 4))).toBeCloseTo(Math.sqrt(5 / 12), 15);
  });

  it('lose no digits far from zero', () => {
    expect(variance([1e9 + 1, 1e9 + 2, 1e9 + 3], 'population')).toBeCloseTo(2 / 3, 12);
  });

  it('need values', () => {
    expect(() => mean([])).toThrow(ShapeError);
    expect(variance([3], 'population')).toBe(0);
    expect(() => variance([3], 'sample')).toThrow(
      'variance(sample): expected at least 2 values, received 1.',
    );
  });
});

describe('quantile', () => {
  it('interpolates between neighbours and does not sort its argument', () => {
    const list = [40, 10, 20];
    expect(quantile(list, 0)).toBe(10);
    expect(quantile(list, 0.25)).toBe(15);
    expect(quantile(list, 0.5)).toBe(20);
    expect(quantile(list, 0.75)).toBe(30);
    expect(quantile(list, 1)).toBe(40);
    expect(list).toEqual([40, 10, 20]);
    expect(quantile([10, 9, 2], 0.5)).toBe(9); // numbers, not strings
    expect(quantile([7], 0.3)).toBe(7);
  });

  it('refuses what is not a share', () => {
    expect(() => quantile([1], 1.1)).toThrow(ConfigError);
    expect(() => quantile([1], Number.NaN)).toThrow(ConfigError);
    expect(() => quantile([], 0.5)).toThrow(ShapeError);
  });
});

describe('normal distribution', () => {
  // Abramowitz & Stegun 1964, table 26.1, and their p. 976 for the points.
  it.each([
    [0, 0.5],
    [1, 0.841344746068543],
    [2, 0.977249868051821],
    [3, 0.99865010196837],
    [5, 0.999999713348428],
  ])('Φ(%d) = %d', (z, p) => {
    expect(Math.abs(normalCdf(z) - p)).toBeLessThan(1e-14);
    expect(Math.abs(normalCdf(-z) - (1 - p))).toBeLessThan(1e-14);
  });

  it('has the known points and inverts', () => {
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 12);
    expect(normalQuantile(0.95)).toBeCloseTo(1.644853626951473, 12);
    expect(normalQuantile(0.5)).toBe(0);
    fc.assert(
      fc.property(fc.double({ min: -4.7, max: 4.7, noNaN: true }), (z) => {
        expect(Math.abs(normalQuantile(normalCdf(z)) - z)).toBeLessThan(1e-9);
      }),
    );
    expect(() => normalQuantile(0)).toThrow(ConfigError);
    expect(normalCdf(40)).toBe(1);
    expect(normalCdf(-40)).toBe(0);
  });
});

describe('wilsonInterval', () => {
  it('gives the values of the formula', () => {
    // z² = 3.841459; none of 10: high = (z²/10) / (1 + z²/10) = 0.277533.
    expect(wilsonInterval(0, 10).low).toBe(0);
    expect(wilsonInterval(0, 10).high).toBeCloseTo(0.277533, 6);
    // Half of 10: ½ ± z √(0.025 + z²/400) / (1 + z²/10) = ½ ± 0.263407.
    expect(wilsonInterval(5, 10).low).toBeCloseTo(0.236593, 6);
    expect(wilsonInterval(5, 10).high).toBeCloseTo(0.763407, 6);
  });

  it('mirrors, contains the share, and narrows with trials and less confidence', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer({ min: 1, max: 200 }), (some, trials) => {
        const successes = Math.min(some, trials);
        const { low, high } = wilsonInterval(successes, trials);
        const mirror = wilsonInterval(trials - successes, trials);
        expect(1 - mirror.high).toBeCloseTo(low, 12);
        expect(low).toBeLessThanOrEqual(successes / trials);
        expect(high).toBeGreaterThanOrEqual(successes / trials);
        expect(low >= 0 && high <= 1).toBe(true);
        const more = wilsonInterval(4 * successes, 4 * trials);
        expect(more.high - more.low).toBeLessThan(high - low);
        const bolder = wilsonInterval(successes, trials, 0.8);
        expect(bolder.high - bolder.low).toBeLessThan(high - low);
      }),
    );
  });

  it('reaches 0 and 1 exactly', () => {
    for (let trials = 1; trials < 300; trials++) {
      expect(wilsonInterval(0, trials).low).toBe(0);
      expect(wilsonInterval(trials, trials).high).toBe(1);
    }
  });

  it('covers the probability about as often as it says', () => {
    const rng = createRng(1);
    let covered = 0;
    for (let run = 0; run < 1000; run++) {
      let successes = 0;
      for (let trial = 0; trial < 40; trial++) if (rng.uniform(run, trial) < 0.3) successes++;
      const { low, high } = wilsonInterval(successes, 40);
      if (low <= 0.3 && 0.3 <= high) covered++;
    }
    // 0.95 with a deviation of 0.007; n = 40 itself is off by up to 0.015.
    expect(covered / 1000).toBeGreaterThan(0.92);
    expect(covered / 1000).toBeLessThan(0.98);
  });

  it('refuses impossible counts', () => {
    expect(() => wilsonInterval(3, 2)).toThrow('wilsonInterval: expected successes between');
    expect(() => wilsonInterval(0, 0)).toThrow(ConfigError);
    expect(() => wilsonInterval(1, 2, 95)).toThrow('wilsonInterval(confidence)');
  });
});

describe('bootstrapInterval', () => {
  const sample = Float64Array.from({ length: 100 }, (_, i) => createRng(2).normal(i));

  it('is about ± 1.96 standard errors for a mean', () => {
    const { low, high } = bootstrapInterval(sample, { rng: createRng(3) });
    const half = 1.96 * standardError(sample);
    expect(Math.abs(low - (mean(sample) - half))).toBeLessThan(0.1 * half);
    expect(Math.abs(high - (mean(sample) + half))).toBeLessThan(0.1 * half);
  });

  it('repeats with its stream, narrows with less confidence, takes any statistic', () => {
    const rng = createRng(3);
    const whole = bootstrapInterval(sample, { rng });
    expect(bootstrapInterval(sample, { rng })).toEqual(whole);
    expect(bootstrapInterval(sample, { rng: createRng(4) })).not.toEqual(whole);
    const bolder = bootstrapInterval(sample, { rng, confidence: 0.5 });
    expect(bolder.high - bolder.low).toBeLessThan(0.5 * (whole.high - whole.low));
    const largest = bootstrapInterval([1, 2, 3], { rng, statistic: (x) => Math.max(...x), resamples: 200 });
    expect(largest.high).toBe(3);
    expect(bootstrapInterval([5, 5], { rng, resamples: 10 })).toEqual({ low: 5, high: 5 });
  });

  it('refuses nonsense', () => {
    const rng = createRng(0);
    expect(() => bootstrapInterval([], { rng })).toThrow(ShapeError);
    expect(() => bootstrapInterval([1], { rng, confidence: 1 })).toThrow(ConfigError);
    expect(() => bootstrapInterval([1], { rng, resamples: 1 })).toThrow(ConfigError);
  });
});

describe('moments', () => {
  it('merged in any way equal those of all values', () => {
    fc.assert(
      fc.property(values, fc.nat(30), (all, cut) => {
        const merged = mergeMoments(momentsOf(all.slice(0, cut)), momentsOf(all.slice(cut)));
        const one = all.reduce((soFar, value) => mergeMoments(soFar, momentsOf([value])), noMoments);
        for (const moments of [merged, one]) {
          expect(moments.count).toBe(all.length);
          expect(moments.mean).toBeCloseTo(mean(all), 8);
          expect(varianceOf(moments, 'sample')).toBeCloseTo(variance(all, 'sample'), 5);
          expect(varianceOf(moments, 'population')).toBeCloseTo(variance(all, 'population'), 5);
        }
      }),
    );
  });

  it('of {1, 3} and {8}, derived by hand', () => {
    // Means 2 and 8, δ = 6, n = 3: mean 2 + 6/3 = 4; squares 2 + 0 + 36·2·1/3 = 26 = 9 + 1 + 16.
    expect(mergeMoments(momentsOf([1, 3]), momentsOf([8]))).toEqual({ count: 3, mean: 4, squares: 26 });
  });

  it('of too few values have no variance', () => {
    expect(mergeMoments(noMoments, noMoments)).toEqual(noMoments);
    expect(varianceOf(noMoments, 'population')).toBeNaN();
    expect(varianceOf(momentsOf([4]), 'population')).toBe(0);
    expect(varianceOf(momentsOf([4]), 'sample')).toBeNaN();
  });
});

describe('clusteredMean', () => {
  it('is that of the definition, and of independent values where every cluster has one', () => {
    expect(clusteredMean([1, 1, 3, 3], ['a', 'a', 'b', 'b'])).toEqual({ mean: 2, standardError: 1 });
    fc.assert(
      fc.property(values, (list) => {
        const alone = list.map((_, i) => String(i));
        expect(clusteredMean(list, alone).standardError).toBeCloseTo(standardError(list), 9);
        // Saying everything twice adds nothing, wherever it is said.
        const twice = clusteredMean([...list, ...list], [...alone, ...alone]);
        expect(twice.standardError).toBeCloseTo(standardError(list), 9);
      }),
    );
  });
  it('needs two clusters, and one for each value', () => {
    expect(() => clusteredMean([1, 2], ['a', 'a'])).toThrow(ShapeError);
    expect(() => clusteredMean([1, 2], ['a'])).toThrow(/a cluster for each of 2 values/);
  });
});
