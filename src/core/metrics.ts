/** Names and meanings of logged numbers, and their means over the pieces of a step. */
import { ConfigError } from './errors.ts';

/** A logged number: its name in logs, what it means, its unit, and where it should lie. */
export interface MetricDefinition {
  /** `name` or `group/name`; `{name}` stands for a part that a run fills in, as in `rewards/{name}/mean`. */
  readonly name: string;
  readonly description: string;
  /** nats, tokens, ms, bytes, … ; 1 for shares, counts and other plain numbers. */
  readonly unit: string;
  /** Where the number lies in a run that goes well, in words; left out where there is no such place. */
  readonly healthy?: string;
}

/**
 * Defines a metric.
 *
 * @throws ConfigError when the name is not one or two parts of lower-case letters, digits, `_` and `-`, such as
 *   `rewards/margins`
 * @example metric('filter/kept', 'fraction of rollouts with weight > 0');
 */
export function metric(
  name: string,
  description: string,
  options: { readonly unit?: string; readonly healthy?: string } = {},
): MetricDefinition {
  if (!/^[a-z][a-z0-9_-]*(\/\{[a-z]+\})?(\/[a-z0-9][a-z0-9_-]*)?$/.test(name)) {
    throw new ConfigError({
      where: 'metric(name)',
      expected: 'a name such as "loss" or "rewards/margins"',
      received: JSON.stringify(name),
      fix: 'Use lower-case words joined by _, and at most one group before a slash',
    });
  }
  return { name, description, unit: '1', ...options };
}

/**
 * Weighted means over micro-batches and steps. What is added are sums and their denominators, never means of pieces: a
 * micro-batch with few tokens counts little, and cutting a batch otherwise changes nothing but rounding.
 */
export interface MetricAverager {
  /** Adds a piece: Σ wᵢxᵢ and Σ wᵢ over its tokens, pairs or sequences. */
  add(name: string, sum: number, weight: number): void;
  /** Σ sums / Σ weights by name, in the order of first addition; names whose weights sum to 0 are left out. */
  means(): Record<string, number>;
  /** `means`, and starts again from nothing. */
  take(): Record<string, number>;
}

/**
 * An averager without additions.
 *
 * @example
 * const averager = createMetricAverager();
 * averager.add('loss', 6, 3); // three tokens with losses that sum to 6
 * averager.add('loss', 1, 1);
 * averager.means(); // { loss: 1.75 }: 7 / 4, where the mean of means would be 1.5
 */
export function createMetricAverager(): MetricAverager {
  const totals = new Map<string, { sum: number; weight: number }>();
  const means = (): Record<string, number> => {
    const result: Record<string, number> = {};
    for (const [name, { sum, weight }] of totals) if (weight !== 0) result[name] = sum / weight;
    return result;
  };
  return {
    add(name, sum, weight) {
      const total = totals.get(name);
      if (total === undefined) totals.set(name, { sum, weight });
      else {
        total.sum += sum;
        total.weight += weight;
      }
    },
    means,
    take() {
      const result = means();
      totals.clear();
      return result;
    },
  };
}
