import { describe, expect, it } from 'vitest';
import { fitLogistic, logOdds } from './logistic-regression.ts';
import { createRng } from './rng.ts';

const rng = createRng(5);
const rows = Array.from({ length: 60 }, (_, row) => [
  rng.uniform(row, 0) * 4 - 2,
  rng.uniform(row, 1) * 4 - 2,
  rng.uniform(row, 2) * 4 - 2,
]);
const labels = rows.map(([a, b], row) => a! - 0.5 * b! + 2 * rng.uniform(row, 3) > 1.4);

describe('fitLogistic', () => {
  // Symmetric about 1.5, so b = −1.5 w, and w solves w = 0.5 σ(−0.5w)·2 + 1.5 σ(−1.5w)·2, all s = 1.
  it('finds the optimum of the documented example', () => {
    const { weights, intercept } = fitLogistic([[0], [1], [2], [3]], [false, false, true, true]);
    const w = weights[0]!;
    const sigma = (x: number): number => 1 / (1 + Math.exp(-x));
    expect(w).toBeCloseTo(sigma(-0.5 * w) + 3 * sigma(-1.5 * w), 10);
    expect(w).toBeCloseTo(0.958, 3);
    expect(intercept).toBeCloseTo(-1.5 * w, 10);
  });

  it('has slope 0 in every direction, whatever the penalty', () => {
    const counts = { true: labels.filter(Boolean).length, false: labels.filter((label) => !label).length };
    for (const inversePenalty of [0.01, 1, 1e6]) {
      const fitted = fitLogistic(rows, labels, { inversePenalty });
      const slope = [...fitted.weights, 0];
      rows.forEach((x, row) => {
        const y = labels[row] ? 1 : -1;
        const scale = (inversePenalty * rows.length) / (2 * counts[labels[row] ? 'true' : 'false']);
        const miss = scale / (1 + Math.exp(y * logOdds(fitted, x)));
        [...x, 1].forEach((value, i) => {
          slope[i]! -= y * miss * value;
        });
      });
      for (const one of slope) expect(Math.abs(one) / (inversePenalty * rows.length)).toBeLessThan(1e-9);
    }
  });

  it('changes sign with the labels, and does not mind that one class has more rows', () => {
    const fitted = fitLogistic(rows, labels);
    const opposite = fitLogistic(
      rows,
      labels.map((label) => !label),
    );
    fitted.weights.forEach((weight, i) => {
      expect(opposite.weights[i]).toBeCloseTo(-weight, 9);
    });
    expect(opposite.intercept).toBeCloseTo(-fitted.intercept, 9);
    // Two points, nine rows of one and three of the other: the log-odds have the middle between them, as with one row each.
    const uneven = fitLogistic(
      [...new Array(9).fill([1]), ...new Array(3).fill([-1])],
      [...new Array(9).fill(true), ...new Array(3).fill(false)],
    );
    expect(uneven.intercept).toBeCloseTo(0, 10);
  });

  it('is stable where classes lie far apart', () => {
    const fitted = fitLogistic([[-1e4], [1e4]], [false, true], { inversePenalty: 1e9 });
    expect(logOdds(fitted, [1e4])).toBeGreaterThan(5);
    expect(Number.isFinite(fitted.weights[0])).toBe(true);
  });

  it('refuses one class, uneven vectors and numbers that are not finite', () => {
    expect(() => fitLogistic([[1], [2]], [true, true])).toThrow(
      /expected rows of both classes, received 2 positive and 0 negative/,
    );
    expect(() => fitLogistic([[1], [2, 3]], [true, false])).toThrow(/one of 2 numbers/);
    expect(() => fitLogistic([[1]], [true, false])).toThrow(/expected 2 vectors of 1 numbers/);
    expect(() => fitLogistic([[1], [Number.NaN]], [true, false])).toThrow(
      /vector 2: expected finite numbers/,
    );
  });
});
