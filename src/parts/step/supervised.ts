/** Maximum likelihood on tokens: the skeleton of SFT and its relatives. */
import { mul, neg } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import {
  columnsOf,
  countLabels,
  type TokenExample,
  type TokenInputs,
  tokenArrays,
  tokenTypes,
} from '../batch.ts';
import { batchLogProbs } from '../logprob.ts';
import { type Aggregation, aggregateSum } from '../loss/aggregate.ts';
import type { TrainStep } from './train-step.ts';

export interface SupervisedStepOptions {
  /** How token losses are averaged. */
  readonly aggregation: Aggregation;
  /** Whether examples are rows of several packed examples, kept apart by segment numbers. */
  readonly packed: boolean;
}

/** Negative log-likelihood of the labels. Metrics: `loss`, `entropy` (nats per label), `mean_token_accuracy`. */
export function supervisedStep({ aggregation, packed }: SupervisedStepOptions): TrainStep<TokenExample> {
  return {
    columns: (example) => columnsOf(example.ids.length),
    weight: (example) => (aggregation === 'token-mean' ? countLabels(example) : 1),
    tokens: (example) => example.ids.length,
    types: (rows, columns) => tokenTypes(rows, columns, packed),
    arrays: (examples, rows, columns) => tokenArrays(examples, rows, columns, packed),
    trace({ model, weights, rematerialize }, inputs) {
      const batch = inputs as unknown as TokenInputs;
      const { logProbs, entropy, correct } = batchLogProbs(model, weights, batch, { rematerialize });
      const loss = aggregateSum(neg(logProbs), batch.mask, aggregation);
      return {
        loss,
        sums: {
          labels: sum(batch.mask),
          entropy: sum(mul(entropy, batch.mask)),
          correct: sum(mul(correct, batch.mask)),
        },
      };
    },
    summarize: ({ labels = 0, entropy = 0, correct = 0 }) => ({
      entropy: entropy / Math.max(labels, 1),
      mean_token_accuracy: correct / Math.max(labels, 1),
    }),
  };
}
