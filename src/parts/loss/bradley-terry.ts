/** The pairwise logistic loss of reward models. */
import { checkShapes } from '../../core/shapes.ts';
import { add, mul, neg, square, sub } from '../../graph/ops/elementwise.ts';
import { logSigmoid } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';

export interface BradleyTerryInput {
  /** Score of the chosen completion, [B] */
  readonly chosen: Tensor;
  /** Score of the rejected completion, [B] */
  readonly rejected: Tensor;
  /** How much better the chosen one is at least, in units of score, [B]; 0 where nothing is known. */
  readonly margin?: Tensor;
}

export interface BradleyTerryOptions {
  /** ε: assumed probability that a label is flipped. 0 is the plain loss. */
  readonly labelSmoothing?: number;
  /** η: multiplies (chosen + rejected)², which pulls the midpoint of every pair to 0. Costs accuracy when large. */
  readonly centering?: number;
}

/**
 * With Δ = chosen − rejected − margin: −(1 − ε) log σ(Δ) − ε log σ(−Δ) + η (chosen + rejected)² per pair, nats.
 *
 * The likelihood depends on differences only: scores of different prompts are not comparable, and `centering` fixes their
 * scale's origin without making it absolute.
 *
 * @returns [B]; ln 2 where the scores are equal and there is neither margin nor centering
 * @throws ShapeError when the shapes disagree
 * @source Bradley & Terry 1952; Ouyang et al. 2022 (arXiv 2203.02155), eq. 1; margin: Touvron et al. 2023 (arXiv
 *   2307.09288), eq. 2; centering: Eisenstein et al. 2023 (arXiv 2312.09244), section 2
 * @example chosen 1.2, rejected −0.3: 0.20141328; margin 0.5: 0.31326169; labelSmoothing 0.1: 0.35141328; centering 0.01
 *   adds 0.0081
 */
export function bradleyTerryLoss(
  { chosen, rejected, margin }: BradleyTerryInput,
  { labelSmoothing = 0, centering = 0 }: BradleyTerryOptions = {},
): Tensor {
  checkShapes('bradleyTerryLoss', {
    chosen: [chosen, 'B'],
    rejected: [rejected, 'B'],
    ...(margin === undefined ? {} : { margin: [margin, 'B'] as const }),
  });
  const apart = sub(chosen, rejected);
  const difference = margin === undefined ? apart : sub(apart, margin);
  let loss = neg(logSigmoid(difference));
  if (labelSmoothing > 0) {
    loss = add(mul(loss, 1 - labelSmoothing), mul(neg(logSigmoid(neg(difference))), labelSmoothing));
  }
  return centering === 0 ? loss : add(loss, mul(square(add(chosen, rejected)), centering));
}
