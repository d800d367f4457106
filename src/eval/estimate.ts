/** Figures with the interval that the number of samples leaves open. */
import type { Rng } from '../core/rng.ts';
import { bootstrapInterval, mean, wilsonInterval } from '../core/statistics.ts';

/** A mean or share with its 95 % interval, `low` ≤ `mean` ≤ `high`. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Mean of independent values with a percentile bootstrap interval.
 *
 * @param values one per prompt, not per token: tokens of a completion are not independent
 * @throws ShapeError when there are no values
 * @example estimateMean([1, 1, 1], rng); // { mean: 1, low: 1, high: 1 }
 */
export function estimateMean(values: ArrayLike<number>, rng: Rng): Estimate {
  return { mean: mean(values), ...bootstrapInterval(values, { rng }) };
}

/**
 * Share of trials that succeeded, with Wilson's interval.
 *
 * @throws ConfigError unless there are trials
 * @example estimateShare([true, false]); // { mean: 0.5, low: 0.0945, high: 0.9055 }
 */
export function estimateShare(outcomes: readonly boolean[]): Estimate {
  const successes = outcomes.filter(Boolean).length;
  return { mean: successes / outcomes.length, ...wilsonInterval(successes, outcomes.length) };
}
