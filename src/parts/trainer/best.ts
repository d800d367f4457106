/** The best evaluation so far with its weights, and how long ago it was. */
import { ConfigError } from '../../core/errors.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { MetricRecord, TrainerState } from './trainer.ts';

export interface BestOptions {
  /** Metric of an evaluation, with or without `eval_`. */
  readonly metric: string;
  readonly greaterIsBetter: boolean;
  /** Evaluations without a new best after which training stops; 0: it does not. */
  readonly patience: number;
}

export interface Best {
  /** Looks at an evaluation of the weights as they are now. @throws ConfigError when it lacks the metric */
  observe(record: MetricRecord, step: number): void;
  /** Whether `patience` evaluations have passed without a new best. */
  readonly exhausted: boolean;
  /** Step and value of the best evaluation; undefined before the first. */
  readonly found: { readonly step: number; readonly value: number } | undefined;
  /** Puts the best weights back. Does nothing before the first evaluation. */
  restore(): void;
  /** For a checkpoint, and from one: a resumed run decides as an uninterrupted one. */
  state(): NonNullable<TrainerState['extra']>;
  load(extra: NonNullable<TrainerState['extra']>): void;
}

/** What is less of these is better. */
const lessIsBetter = /loss|perplexity|ece|error|kl$/;

/** Whether more of a metric is better, by its name. @example greaterIsBetter('eval_rewards/accuracies') // true */
export const greaterIsBetter = (metric: string): boolean => !lessIsBetter.test(metric);

export function trackBest(
  parameters: Parameters,
  { metric, greaterIsBetter: greater, patience }: BestOptions,
): Best {
  const name = metric.startsWith('eval_') ? metric : `eval_${metric}`;
  let found: { step: number; value: number } | undefined;
  let weights: Float32Array | undefined;
  let waited = 0;
  return {
    observe(record, step) {
      const value = record[name];
      if (value === undefined) {
        throw new ConfigError({
          where: '--best-metric',
          expected: `a metric of the evaluation (${Object.keys(record)
            .filter((key) => key.startsWith('eval_'))
            .join(', ')})`,
          received: metric,
        });
      }
      if (found !== undefined && (greater ? value <= found.value : value >= found.value)) {
        waited++;
        return;
      }
      found = { step, value };
      weights = Float32Array.from(parameters.flat);
      waited = 0;
    },
    get exhausted() {
      return patience > 0 && waited >= patience;
    },
    get found() {
      return found;
    },
    restore() {
      if (weights !== undefined) parameters.flat.set(weights);
    },
    state: () => ({
      numbers: {
        'best.waited': waited,
        ...(found && { 'best.step': found.step, 'best.value': found.value }),
      },
      vectors: weights === undefined ? {} : { 'best.weights': weights },
    }),
    load({ numbers, vectors }) {
      waited = numbers['best.waited'] ?? 0;
      const [step, value] = [numbers['best.step'], numbers['best.value']];
      if (step === undefined || value === undefined) return;
      found = { step, value };
      weights = vectors['best.weights'];
    },
  };
}
