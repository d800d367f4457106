/** The pairwise logistic loss of DPO. */
import { checkShapes } from '../../core/shapes.ts';
import { add, mul, neg, sub } from '../../graph/ops/elementwise.ts';
import { logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';

export interface DpoLossInput {
  /** log π(chosen | prompt), summed over completion tokens, nats, [B] */
  readonly chosen: Tensor;
  /** log π(rejected | prompt), [B] */
  readonly rejected: Tensor;
  /** log π_ref(chosen | prompt), [B]; constant */
  readonly referenceChosen: Tensor;
  /** log π_ref(rejected | prompt), [B]; constant */
  readonly referenceRejected: Tensor;
}

/**
 * Difference of log-ratios: h = (log π/π_ref)(chosen) − (log π/π_ref)(rejected), nats, [B].
 */
export function preferenceMargin({
  chosen,
  rejected,
  referenceChosen,
  referenceRejected,
}: DpoLossInput): Tensor {
  checkShapes('preferenceMargin', {
    chosen: [chosen, 'B'],
    rejected: [rejected, 'B'],
    referenceChosen: [referenceChosen, 'B'],
    referenceRejected: [referenceRejected, 'B'],
  });
  return sub(sub(chosen, referenceChosen), sub(rejected, referenceRejected));
}

/**
 * −(1 − ε) log σ(β h) − ε log σ(−β h) per pair, nats.
 *
 * @param margin h [B], from `preferenceMargin`
 * @param beta strength of the pull towards the reference; multiplies h
 * @param labelSmoothing ε: assumed probability that a label is flipped; 0 is DPO, above 0 conservative DPO
 * @returns [B]; ln 2 where h = 0
 * @source Rafailov et al. 2023, eq. 7; label smoothing: Mitchell 2023, "A note on DPO with noisy preferences", eq. 3
 * @example dpoSigmoidLoss(h = 2, { beta: 0.1, labelSmoothing: 0 }) = 0.5981388694; with labelSmoothing 0.1: 0.6181388694
 */
export function dpoSigmoidLoss(
  margin: Tensor,
  { beta, labelSmoothing }: { readonly beta: number; readonly labelSmoothing: number },
): Tensor {
  const scaled = mul(margin, beta);
  const kept = mul(neg(logSigmoid(scaled)), 1 - labelSmoothing);
  return labelSmoothing === 0 ? kept : add(kept, mul(neg(logSigmoid(neg(scaled))), labelSmoothing));
}
