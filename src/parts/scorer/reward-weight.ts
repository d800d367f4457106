/** Weights of rewards, constant or changing over the first iterations of a run. */
import { ConfigError } from '../../core/errors.ts';

/** From `from` at the first iteration to `to` at iteration `over` (0-based), on a straight line; `to` from there on. */
export interface RewardWeight {
  readonly from: number;
  readonly to: number;
  /** Iterations, 0 or more; 0 where the weight is constant. */
  readonly over: number;
}

const number = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?`;
const pattern = new RegExp(`^(${number})(?:\\.\\.(${number})@([1-9]\\d*))?$`, 'i');

/**
 * Reads a weight: a number, or text such as `1..0@50`.
 *
 * @throws ConfigError when it is neither
 * @example rewardWeight('1..0@50'); // { from: 1, to: 0, over: 50 }
 */
export function rewardWeight(value: number | string): RewardWeight {
  const [, from, to = from, over = '0'] = pattern.exec(String(value).trim()) ?? [];
  if (from === undefined) {
    throw new ConfigError({
      where: 'rewardWeights',
      expected: 'a number, or from..to@iterations such as 1..0@50',
      received: JSON.stringify(value),
      fix: 'Write the weight as a number, or name the iterations (1 or more) over which it changes',
    });
  }
  return { from: Number(from), to: Number(to), over: Number(over) };
}

/**
 * The weight at an iteration.
 *
 * @param iteration from 0
 * @example weightAt({ from: 1, to: 0, over: 50 }, 25); // 0.5
 */
export function weightAt({ from, to, over }: RewardWeight, iteration: number): number {
  return over === 0 ? to : from + (to - from) * Math.min(1, iteration / over);
}
