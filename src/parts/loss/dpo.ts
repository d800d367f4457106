/** The pairwise logistic loss of DPO. */
import { add, mul, neg } from '../../graph/ops/elementwise.ts';
import { logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';

/**
 * −(1 − ε) log σ(β h) − ε log σ(−β h) per pair, nats.
 *
 * @param margin h [B], nats: (log π/π_ref)(chosen) − (log π/π_ref)(rejected)
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
