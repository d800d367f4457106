/** Which prompts come next: each as often as the others, or those that teach most. */
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import type { Rng } from '../../core/rng.ts';

/** Prompts by their index. What it gives depends on the seed, on how many were taken, and on what was observed. */
export interface PromptSource {
  /** The next `count`. */
  take(count: number): number[];
  /** Scores of completions of a prompt. */
  observe(prompt: number, scores: readonly number[]): void;
  /** Metrics of the source; none where it does not choose. */
  metrics(): Readonly<Record<string, number>>;
  state(): PromptSourceState;
  /** @throws CheckpointError when the state belongs to another source */
  load(state: PromptSourceState): void;
}

export interface PromptSourceState {
  readonly numbers: Readonly<Record<string, number>>;
  readonly vectors: Readonly<Record<string, Float32Array>>;
}

/** All prompts in turn, running on from one pass over them into the next, each pass in a fresh order. */
export function inTurn(rng: Rng, prompts: number, shuffle: boolean): PromptSource {
  let taken = 0;
  return {
    take(count) {
      const indices = promptIndices(rng, prompts, count, taken, shuffle);
      taken += count;
      return indices;
    },
    observe() {},
    metrics: () => ({}),
    state: () => ({ numbers: { taken }, vectors: {} }),
    load({ numbers }) {
      taken = requireTaken(numbers);
    },
  };
}

export interface CurriculumOptions {
  readonly rng: Rng;
  readonly prompts: number;
  /** A completion with this score or more is a success. */
  readonly success: number;
  /** Weight of the newest success rate of a prompt in its running mean, in (0, 1]. */
  readonly rate?: number;
  /** Added to every weight, so that no prompt is forgotten; p(1 − p) is at most 0.25. */
  readonly floor?: number;
}

/**
 * Prompts drawn without repetition within a call, with weights p(1 − p) + floor, p the running success rate of each: what always or
 * never succeeds has nothing to compare. Prompts that were not tried yet count as p = 0.5, the largest weight.
 *
 * @throws ConfigError when there are fewer prompts than are taken at once
 * @source Foster & Foerster 2025, "Learning to Reason at the Frontier of Learnability" (arXiv 2502.12272), section 3 (p(1 − p));
 *   Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir" (keys u^(1/w))
 * @example success rates [0, 0.5, 1] with floor 0.01: the second is drawn first in 26 of 28 cases
 */
export function bySuccess(options: CurriculumOptions): PromptSource {
  const { rng, prompts, success, rate = 0.3, floor = 0.01 } = options;
  const draws = rng.split('curriculum');
  const rates = new Float32Array(prompts).fill(0.5);
  let taken = 0;
  return {
    take(count) {
      if (count > prompts) {
        throw new ConfigError({
          where: 'curriculum',
          expected: `at least ${count} prompts, as many as an iteration takes`,
          received: String(prompts),
          fix: 'Add prompts, or lower batchSize',
        });
      }
      const keys = Array.from(rates, (p, index) => ({
        index,
        key: Math.log(1 - draws.uniform(taken, index)) / (p * (1 - p) + floor),
      }));
      taken += count;
      return keys
        .sort((a, b) => b.key - a.key || a.index - b.index)
        .slice(0, count)
        .map(({ index }) => index);
    },
    observe(prompt, scores) {
      if (scores.length === 0) return;
      const share = scores.filter((score) => score >= success).length / scores.length;
      rates[prompt] = rates[prompt]! + rate * (share - rates[prompt]!);
    },
    metrics: () => ({
      'curriculum/success': rates.reduce((total, p) => total + p, 0) / prompts,
      'curriculum/learnable': rates.filter((p) => p > 0.1 && p < 0.9).length / prompts,
    }),
    state: () => ({ numbers: { taken }, vectors: { rates } }),
    load({ numbers, vectors }) {
      taken = requireTaken(numbers);
      if (vectors.rates?.length !== prompts) {
        throw new CheckpointError({
          where: 'curriculum',
          expected: `success rates of ${prompts} prompts`,
          received: vectors.rates === undefined ? 'none' : String(vectors.rates.length),
          fix: 'Resume with the prompts and the curriculum the run was started with',
        });
      }
      rates.set(vectors.rates);
    },
  };
}

function requireTaken({ taken }: PromptSourceState['numbers']): number {
  if (taken !== undefined) return taken;
  throw new CheckpointError({
    where: 'prompts',
    expected: 'a stored place in the prompts',
    received: 'none',
    fix: 'Start a new run: this checkpoint is of an older version',
  });
}

/**
 * Indices of `count` prompts from place `start` (0-based) in an endless sequence of passes over the data, each pass in a fresh
 * order. A function of (seed, start) alone.
 */
export function promptIndices(
  rng: Rng,
  prompts: number,
  count: number,
  start: number,
  shuffle: boolean,
): number[] {
  const orders = new Map<number, Int32Array>();
  return Array.from({ length: count }, (_, i) => {
    const at = start + i;
    const pass = Math.floor(at / prompts);
    if (!shuffle) return at % prompts;
    let order = orders.get(pass);
    if (order === undefined) {
      order = rng.split('prompts').permutation(prompts, pass);
      orders.set(pass, order);
    }
    return order[at % prompts]!;
  });
}
