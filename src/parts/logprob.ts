/** Token log-probabilities of a causal model on a batch: the one place where labels are lined up with predictions. */

import { stopGradient } from '../graph/ops/control.ts';
import { cast, equal, mul } from '../graph/ops/elementwise.ts';
import { mean } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { tokenLogProbs } from '../graph/token-log-probs.ts';
import type { CausalModel, Weights } from '../models/causal-model.ts';
import { linear } from '../nn/linear.ts';
import type { TokenInputs } from './batch.ts';

export interface BatchLogProbs {
  /** log p(label) in nats, [B, T]; garbage where the mask is 0 */
  readonly logProbs: Tensor;
  /** Entropy of each prediction in nats, [B, T] */
  readonly entropy: Tensor;
  /** 1 where the most likely token is the label, [B, T] */
  readonly correct: Tensor;
  /** Mean logit over the vocabulary, [B, T] */
  readonly meanLogits: Tensor;
  /** log Σ p² over the vocabulary in nats, [B, T], where it was asked for. No gradient. */
  readonly logSumSquares: Tensor | undefined;
}

/**
 * One forward pass. Column t of the labels is the token that follows column t of the ids (see `batch.ts`), so nothing is
 * shifted here. `temperature` divides the logits (1 when left out).
 */
export function batchLogProbs(
  model: CausalModel,
  weights: Weights,
  inputs: TokenInputs,
  options: {
    readonly rematerialize?: boolean;
    readonly temperature?: number;
    readonly logSumSquares?: boolean;
  } = {},
): BatchLogProbs {
  const [B, T] = inputs.ids.shape as [number, number];
  const { hidden } = model.forward(weights, {
    ids: inputs.ids,
    positions: inputs.positions,
    ...(inputs.segments === undefined ? {} : { segments: inputs.segments }),
    rematerialize: options.rematerialize ?? false,
  });
  const head = model.head(weights);
  const flat = reshape(hidden, [B * T, model.hiddenSize]);
  const labels = reshape(inputs.labels, [B * T]);
  const temperature = options.temperature ?? 1;
  const { logProbs, entropy, greedy, meanLogits, logSumSquares } = tokenLogProbs(flat, head, labels, {
    temperature,
    logSumSquares: options.logSumSquares ?? false,
    ...(model.logitCap === undefined ? {} : { cap: model.logitCap, meanLogits: true }),
  });
  const shape = [B, T];
  // Without a cap, the mean over the vocabulary of h·headᵀ is h·(mean row of the head): no logits needed.
  const meanOfProducts = (): Tensor =>
    linear(stopGradient(flat), mean(stopGradient(head), { axes: 0, keepDims: true }));
  return {
    logProbs: reshape(logProbs, shape),
    entropy: reshape(entropy, shape),
    correct: reshape(cast(equal(greedy, labels), 'float32'), shape),
    meanLogits: reshape(meanLogits === undefined ? meanOfProducts() : mul(meanLogits, temperature), shape),
    logSumSquares: logSumSquares && reshape(logSumSquares, shape),
  };
}
