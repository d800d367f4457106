/** Estimates of the Kullback–Leibler divergence KL(π ‖ π_ref) at sampled tokens. */
import { ShapeError } from '../core/errors.ts';

/**
 * `k1` = d, unbiased, may be negative; `k2` = d²/2, biased, low variance; `k3` = exp(−d) − 1 + d, unbiased, never
 * negative; each with d = log π − log π_ref at a token that π sampled.
 */
export type KlEstimator = 'k1' | 'k2' | 'k3';

/** exp of a larger number than this overflows float32 in no place that we keep, and says nothing more. */
export const largestLogRatio = 20;

/**
 * One estimate per token, nats. In the mean over samples from π, k1 and k3 are KL(π ‖ π_ref).
 *
 * @param logProbs log π(token), any length
 * @param referenceLogProbs log π_ref(token), same length
 * @throws ShapeError when the lengths differ
 * @source Schulman 2020, "Approximating KL divergence"
 * @example log π = [−1, −2, −0.5], log π_ref = [−1.5, −1.8, −0.5]: k1 [0.5, −0.2, 0], k2 [0.125, 0.02, 0],
 *   k3 [0.106531, 0.021403, 0]
 */
export function klEstimate(
  logProbs: ArrayLike<number>,
  referenceLogProbs: ArrayLike<number>,
  estimator: KlEstimator,
): Float64Array {
  requireSameLength('klEstimate', logProbs, referenceLogProbs);
  return Float64Array.from(logProbs, (logProb, t) => {
    const d = logProb - referenceLogProbs[t]!;
    switch (estimator) {
      case 'k1':
        return d;
      case 'k2':
        return (d * d) / 2;
      case 'k3': {
        const clamped = Math.min(Math.max(d, -largestLogRatio), largestLogRatio);
        return Math.expm1(-clamped) + clamped;
      }
    }
  });
}

/**
 * The divergence itself over a whole distribution, nats: Σ_v p_v (log p_v − log q_v). Entries with p = 0 add nothing.
 *
 * @param logP log-probabilities of π, [V]
 * @param logQ log-probabilities of π_ref, [V]
 * @throws ShapeError when the lengths differ
 * @example p = [0.5, 0.5], q = [0.9, 0.1]: 0.5108256; the other way round 0.3680642
 */
export function klFull(logP: ArrayLike<number>, logQ: ArrayLike<number>): number {
  requireSameLength('klFull', logP, logQ);
  let total = 0;
  for (let v = 0; v < logP.length; v++) {
    const p = Math.exp(logP[v]!);
    if (p > 0) total += p * (logP[v]! - logQ[v]!);
  }
  return total;
}

function requireSameLength(where: string, a: ArrayLike<number>, b: ArrayLike<number>): void {
  if (a.length === b.length) return;
  throw new ShapeError({ where, expected: 'lists of one length', received: `${a.length} and ${b.length}` });
}
