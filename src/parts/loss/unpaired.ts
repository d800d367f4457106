/** Losses of single completions that are marked as desirable or not. */
import { add, mul, neg, sigmoid, sub } from '../../graph/ops/elementwise.ts';
import { logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';

/** What is known of the completions of a batch; all [B]. */
export interface UnpairedScores {
  /** r: log π/π_ref of the completion, nats. */
  readonly logRatio: Tensor;
  /** s: 1 for a desirable completion, −1 for an undesirable one. */
  readonly sign: Tensor;
  /** What r is compared with, the same for the whole batch, nats. No gradient. */
  readonly anchor: Tensor;
}

/** A loss per completion, [B]. */
export type UnpairedLoss = (scores: UnpairedScores) => Tensor;

interface Scaled {
  /** β: multiplies log-ratios. */
  readonly beta: number;
}

/**
 * 1 − σ(s·β(r − z)), with z the anchor.
 *
 * @source Ethayarajh et al. 2024, "KTO" (arXiv 2402.01306), eq. 7, without its weights
 * @example β 0.1, r 2, z 0.5: desirable 1 − σ(0.15) = 0.4625702, undesirable 1 − σ(−0.15) = 0.5374298
 */
export const ktoLoss =
  ({ beta }: Scaled): UnpairedLoss =>
  ({ logRatio, sign, anchor }) =>
    sigmoid(mul(neg(sign), mul(sub(logRatio, anchor), beta)));

/**
 * 1 − σ(βr) for desirable completions, σ(βr) for others.
 *
 * @source D'Oosterlinck et al. 2024, "APO" (arXiv 2408.06266), eq. 7 with one side at a time
 */
export const apoZeroUnpairedLoss =
  ({ beta }: Scaled): UnpairedLoss =>
  ({ logRatio, sign }) =>
    sigmoid(mul(neg(sign), mul(logRatio, beta)));

/**
 * −log σ(s(βr − δ)), with δ/β the anchor.
 *
 * @source Jung et al. 2024, "Binary Classifier Optimization" (arXiv 2404.04656), eq. 10
 * @example β 0.1, r 2, δ 0.05: desirable −log σ(0.15) = 0.6209570, undesirable −log σ(−0.15) = 0.7709570
 */
export const bcoLoss =
  ({ beta }: Scaled): UnpairedLoss =>
  ({ logRatio, sign, anchor }) =>
    neg(logSigmoid(mul(sign, mul(sub(logRatio, anchor), beta))));

/** w(s)·loss: desirable and undesirable completions count differently. */
export const weightedBySign =
  (
    loss: UnpairedLoss,
    { desirable, undesirable }: { readonly desirable: number; readonly undesirable: number },
  ): UnpairedLoss =>
  (scores) => {
    const weight = add(mul(scores.sign, (desirable - undesirable) / 2), (desirable + undesirable) / 2);
    return mul(loss(scores), weight);
  };
