/** From scores to token rewards. */
import { ShapeError } from '../../core/errors.ts';
import { type HostTensor, hostTensor } from '../../core/host-tensor.ts';
import { type KlEstimator, klEstimate } from '../kl.ts';

export interface KlRewardInput {
  /** Score of each completion, [B] */
  readonly scores: ArrayLike<number>;
  /** log π of each completion's tokens at rollout, nats; lists of the completions' lengths */
  readonly logProbs: readonly ArrayLike<number>[];
  /** log π_ref of the same tokens, nats */
  readonly referenceLogProbs: readonly ArrayLike<number>[];
}

export interface KlRewards {
  /** [B, C], C the longest completion */
  readonly rewards: HostTensor<Float64Array>;
  /** 1 for every token of a completion, its stop token included, [B, C] */
  readonly mask: HostTensor<Uint8Array>;
  /** Mean over sequences of Σ_t log π/π_ref, nats: an estimate of the KL to the reference. */
  readonly kl: number;
  /** Mean over sequences of the KL part of the reward. */
  readonly nonScoreReward: number;
}

/**
 * r_t = −β · KL_t, plus the score at the last token of the completion (the stop token, or the one where it was cut).
 *
 * @param klCoefficient β, reward per nat
 * @throws ShapeError when counts or lengths disagree, or a completion is empty
 * @source Ziegler et al. 2019 (arXiv 1909.08593), eq. 2; per token as in Ouyang et al. 2022
 * @example score 2, log π [−1, −2], log π_ref [−1.5, −1.8], β 0.1, k1: rewards [−0.05, 2.02]
 */
export function klReward(
  { scores, logProbs, referenceLogProbs }: KlRewardInput,
  { klCoefficient, estimator = 'k1' }: { readonly klCoefficient: number; readonly estimator?: KlEstimator },
): KlRewards {
  const B = scores.length;
  if (
    logProbs.length !== B ||
    referenceLogProbs.length !== B ||
    logProbs.some(({ length }) => length === 0)
  ) {
    throw new ShapeError({
      where: 'klReward',
      expected: `${B} completions of one token or more, one per score`,
      received: `${logProbs.length} completions of ${logProbs.map(({ length }) => length).join(', ')} tokens`,
    });
  }
  const C = Math.max(0, ...logProbs.map(({ length }) => length));
  const rewards = new Float64Array(B * C);
  const mask = new Uint8Array(B * C);
  let [kl, nonScore] = [0, 0];
  for (let row = 0; row < B; row++) {
    const policy = logProbs[row]!;
    const reference = referenceLogProbs[row]!;
    const penalty = klEstimate(policy, reference, estimator);
    for (let t = 0; t < policy.length; t++) {
      rewards[row * C + t] = -klCoefficient * penalty[t]!;
      mask[row * C + t] = 1;
      kl += (policy[t]! - reference[t]!) / B;
      nonScore += rewards[row * C + t]! / B;
    }
    rewards[row * C + policy.length - 1]! += scores[row]!;
  }
  return {
    rewards: hostTensor(rewards, [B, C]),
    mask: hostTensor(mask, [B, C]),
    kl,
    nonScoreReward: nonScore,
  };
}

/**
 * Scores less `penalty` where a completion did not end with a stop token.
 *
 * @param stopped whether each completion ended by itself, [B]
 * @param penalty in units of score, 0 or more
 * @source huggingface/trl v0.24.0 `trl/trainer/ppo_trainer.py` `missing_eos_penalty`
 */
export function penalizeMissingEos(
  scores: readonly number[],
  stopped: readonly boolean[],
  penalty: number,
): number[] {
  return scores.map((score, row) => (stopped[row] === true ? score : score - penalty));
}
