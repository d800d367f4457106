import type { Rng } from '../core/rng.ts';

/** Random choices in a row from one position of a stream: the n-th call is a pure function of (stream, counters, n). */
export interface Draw {
  integer(bound: number): number;
  uniform(): number;
  normal(): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** `count` different items, in random order; all of them when there are fewer. */
  sample<T>(list: readonly T[], count: number): T[];
  /** A key, with probability proportional to its weight. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K;
}

export function drawAt(rng: Rng, ...counters: readonly number[]): Draw {
  let slot = 0;
  const draw: Draw = {
    integer: (bound) => rng.integer(bound, ...counters, slot++),
    uniform: () => rng.uniform(...counters, slot++),
    normal: () => rng.normal(...counters, slot++),
    chance: (probability) => draw.uniform() < probability,
    pick: (list) => list[draw.integer(list.length)]!,
    sample(list, count) {
      const rest = [...list];
      const chosen = [];
      while (chosen.length < count && rest.length > 0) {
        chosen.push(...rest.splice(draw.integer(rest.length), 1));
      }
      return chosen;
    },
    weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
      const entries = Object.entries(weights) as [K, number][];
      const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
      let left = draw.uniform() * total;
      for (const [key, weight] of entries) {
        left -= weight;
        if (left < 0) return key;
      }
      return entries[entries.length - 1]![0];
    },
  };
  return draw;
}
