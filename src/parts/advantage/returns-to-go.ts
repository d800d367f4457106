/** Advantages from what was earned after each token, without a critic. */
import { ConfigError, ShapeError } from '../../core/errors.ts';
import { hostTensor } from '../../core/host-tensor.ts';
import { checkShapes } from '../../core/shapes.ts';
import type { AdvantageEstimator } from './advantage.ts';

/**
 * A_t = Σ_{k ≥ t} γ^(k − t) r_k over tokens that count: the return itself, as REINFORCE has it. Whiten it over the batch and it is
 * the advantage of REINFORCE++.
 *
 * @param gamma discount per token, in [0, 1]
 * @throws ConfigError when γ is outside [0, 1]; ShapeError when the shapes disagree
 * @source Hu et al. 2025, "REINFORCE++" (arXiv 2501.03262), section 3; verl `core_algos.py`
 *   `compute_reinforce_plus_plus_outcome_advantage`
 * @example rewards [[0, 0, 1], [0, −0.5]], γ 1: [[1, 1, 1], [−0.5, −0.5]]; whitened [0.816497 thrice, −1.224745 twice]
 */
export function returnsToGo({ gamma }: { readonly gamma: number }): AdvantageEstimator {
  if (!(gamma >= 0 && gamma <= 1)) {
    throw new ConfigError({
      where: 'returnsToGo(gamma)',
      expected: 'a number in [0, 1]',
      received: String(gamma),
    });
  }
  return ({ rewards, mask }) => {
    const { B, C } = checkShapes('returnsToGo', { rewards: [rewards, 'B C'], mask: [mask, 'B C'] }) as Record<
      'B' | 'C',
      number
    >;
    const returns = new Float64Array(B * C);
    for (let row = 0; row < B; row++) {
      let next = 0;
      for (let at = (row + 1) * C - 1; at >= row * C; at--) {
        if (mask.data[at] === 0) continue;
        next = rewards.data[at]! + gamma * next;
        returns[at] = next;
      }
    }
    return { advantages: hostTensor(returns, [B, C]), returns: hostTensor(new Float64Array(B * C), [B, C]) };
  };
}

/**
 * A_t = Σ_{k ≥ t} r_k − score of the likeliest completion of the same prompt.
 *
 * @throws ShapeError when there is no score per completion in `baselines`
 * @source Li et al. 2023, "ReMax" (arXiv 2310.10505), eq. 5; verl `core_algos.py` `compute_remax_outcome_advantage`
 * @example rewards [[−0.1, 0, 1]], baseline 0.4: [[0.5, 0.6, 0.6]]
 */
export function likeliestBaseline(): AdvantageEstimator {
  const returns = returnsToGo({ gamma: 1 });
  return (input) => {
    const { baselines, rewards, mask } = input;
    const [B, C] = rewards.shape as [number, number];
    if (baselines?.length !== B) {
      throw new ShapeError({
        where: 'likeliestBaseline(baselines)',
        expected: `${B} numbers, one per completion`,
        received: baselines === undefined ? 'none' : String(baselines.length),
      });
    }
    const earned = returns(input);
    const advantages = earned.advantages.data.map((total, at) =>
      mask.data[at] === 0 ? 0 : total - baselines[Math.floor(at / C)]!,
    );
    return { ...earned, advantages: hostTensor(advantages, [B, C]) };
  };
}
