/** KL to the reference as part of a loss. */
import { checkShapes } from '../../core/shapes.ts';
import { add, clamp, exp, neg, sub } from '../../graph/ops/elementwise.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { largestLogRatio } from '../kl.ts';

/**
 * k3 = exp(−d) − 1 + d per token, d = log π − log π_ref: never negative, 0 where they agree, nats.
 *
 * As a loss it is differentiated through log π of the sampled token: its slope is 1 − exp(−d).
 *
 * @param logProbs [B, C]
 * @param referenceLogProbs [B, C]; constant
 * @returns [B, C]
 * @source Schulman 2020, "Approximating KL divergence"; as a loss: Shao et al. 2024 (arXiv 2402.03300), eq. 4
 * @example d = [0.5, −0.2, 0]: [0.106531, 0.021403, 0]
 */
export function klLoss(logProbs: Tensor, referenceLogProbs: Tensor): Tensor {
  checkShapes('klLoss', { logProbs: [logProbs, 'B C'], referenceLogProbs: [referenceLogProbs, 'B C'] });
  const d = clamp(sub(logProbs, referenceLogProbs), -largestLogRatio, largestLogRatio);
  return add(sub(exp(neg(d)), 1), d);
}
