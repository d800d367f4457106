import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { mean, variance } from '../core/statistics.ts';
import { klEstimate, klFull } from './kl.ts';

describe('klEstimate', () => {
  // d = [0.5, −0.2, 0]: d²/2 = [0.125, 0.02, 0]; e^−0.5 − 1 + 0.5 = 0.106531, e^0.2 − 1 − 0.2 = 0.021403.
  it('is the example derived by hand', () => {
    const [p, q] = [
      [-1, -2, -0.5],
      [-1.5, -1.8, -0.5],
    ];
    const expected = {
      k1: [0.5, -0.2, 0],
      k2: [0.125, 0.02, 0],
      k3: [0.10653066, 0.02140276, 0],
    };
    for (const kind of ['k1', 'k2', 'k3'] as const) {
      const estimates = klEstimate(p!, q!, kind);
      expected[kind].forEach((number, i) => void expect(estimates[i]).toBeCloseTo(number, 8));
    }
  });

  it('k1 and k3 average to the divergence over samples, k3 with less variance and never below 0', () => {
    const p = [0.4, 0.3, 0.2, 0.1];
    const q = [0.3, 0.3, 0.25, 0.15];
    const rng = createRng(1);
    const drawn = Array.from({ length: 100_000 }, (_, i) => {
      const u = rng.uniform(i);
      return u < 0.4 ? 0 : u < 0.7 ? 1 : u < 0.9 ? 2 : 3;
    });
    const logs = (list: readonly number[]): number[] => drawn.map((token) => Math.log(list[token]!));
    const truth = klFull(p.map(Math.log), q.map(Math.log));
    const k1 = klEstimate(logs(p), logs(q), 'k1');
    const k3 = klEstimate(logs(p), logs(q), 'k3');
    // Four standard errors: 4·√(0.053/1e5) = 0.003.
    expect(Math.abs(mean(k1) - truth)).toBeLessThan(0.003);
    expect(Math.abs(mean(k3) - truth)).toBeLessThan(0.0006);
    expect(variance(k3, 'population')).toBeLessThan(0.1 * variance(k1, 'population'));
    expect(Math.min(...k3.subarray(0, 1000))).toBeGreaterThanOrEqual(0);
  });

  it('is 0 for equal policies, finite for impossible tokens, and refuses unequal lengths', () => {
    expect([...klEstimate([-1], [-1], 'k3')]).toEqual([0]);
    expect(klEstimate([-900], [-1], 'k3')[0]).toBeLessThan(5e8);
    expect(() => klEstimate([1], [], 'k1')).toThrow(/received 1 and 0/);
  });
});

describe('klFull', () => {
  it('is the example in both directions: KL([.5 .5] ‖ [.9 .1]) = 0.5108256, and 0.3680642', () => {
    const p = [0.5, 0.5].map(Math.log);
    const q = [0.9, 0.1].map(Math.log);
    expect(klFull(p, q)).toBeCloseTo(0.5108256, 7);
    expect(klFull(q, p)).toBeCloseTo(0.3680642, 7);
    expect(klFull([0, -Infinity], p)).toBeCloseTo(Math.LN2, 12);
  });
});
