import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { calibration, evaluatePairs, fitTemperature } from './calibration.ts';

const p = [0.92, 0.83, 0.96, 0.62, 0.71, 0.54, 0.99, 0.66];
const y = [1, 1, 1, 0, 1, 1, 1, 0];

describe('calibration', () => {
  // Bins of 0.1: (.5, .6] {.54 right}, (.6, .7] {.62, .66 wrong}, (.7, .8] {.71 right}, (.8, .9] {.83 right},
  // (.9, 1] {.92, .96, .99 right}: (.46 + 2·.64 + .29 + .17 + .13)/8 = 0.29125.
  it('is the example derived by hand', () => {
    const { ece, brier, nll, bins } = calibration(p, y, { bins: 5 });
    expect(ece).toBeCloseTo(0.29125, 10);
    expect(brier).toBeCloseTo(0.1440875, 10);
    expect(nll).toBeCloseTo(0.41570671, 8);
    expect(bins.map(({ count }) => count)).toEqual([1, 2, 1, 1, 3]);
  });
  it('keeps a probability that lies on an edge in the lower bin, however it was computed', () => {
    const { bins } = calibration([0.1 + 0.2 + 0.3, 0.6], [1, 1], { bins: 5 });
    expect(bins[0]!.count).toBe(2);
  });
  it('takes 0 and 1, and leaves empty bins out of the error', () => {
    // 1 right and 0 right: both in the last bin of ten, at confidence 1.
    expect(calibration([1, 0], [1, 0])).toMatchObject({ ece: 0, brier: 0, nll: 0 });
    // Confidence 0.95, half of them right, in the last bin; the others are empty.
    expect(calibration([0.95, 0.05], [1, 1]).ece).toBeCloseTo(0.45, 12);
  });
  it('goes to 0 for predictions that come true as often as they say', () => {
    const rng = createRng(3);
    const probabilities = Array.from({ length: 40_000 }, (_, i) => rng.uniform(i, 0));
    const outcomes = probabilities.map((probability, i) => (rng.uniform(i, 1) < probability ? 1 : 0));
    expect(calibration(probabilities, outcomes).ece).toBeLessThan(0.01);
    const opposite = outcomes.map((outcome) => 1 - outcome);
    expect(calibration(probabilities, opposite).ece).toBeGreaterThan(0.4);
  });
  it('refuses what is no probability, and lists of other lengths', () => {
    expect(() => calibration([1.2], [1])).toThrow(/probabilities\[0\]/);
    expect(() => calibration([0.5], [])).toThrow(/0 outcomes/);
  });
});

describe('fitTemperature', () => {
  it('recovers the temperature that margins were stretched by, within 5 %', () => {
    const rng = createRng(4);
    const margins = Array.from({ length: 20_000 }, (_, i) => {
      const margin = 2 * rng.normal(i);
      // The pair is oriented by a draw from σ(margin): the chosen side wins that often.
      return 3 * (rng.uniform(i, 1) < 1 / (1 + Math.exp(-margin)) ? margin : -margin);
    });
    expect(fitTemperature(margins) / 3).toBeGreaterThan(0.95);
    expect(fitTemperature(margins) / 3).toBeLessThan(1.05);
    const { calibration: before, eceAtTemperature } = evaluatePairs(margins);
    expect(before.ece).toBeGreaterThan(5 * eceAtTemperature);
  });
});

it('evaluatePairs counts a tie as wrong', () => {
  expect(evaluatePairs([1, 0, -1, 2])).toMatchObject({ accuracy: 0.5, tieRate: 0.25 });
});
