/** Generalised advantage estimation. */
import { ConfigError } from '../../core/errors.ts';
import { hostTensor } from '../../core/host-tensor.ts';
import { checkShapes } from '../../core/shapes.ts';
import type { AdvantageEstimator } from './advantage.ts';

export interface GaeOptions {
  /** γ: discount per token, 0 to 1. */
  readonly gamma: number;
  /** λ: 0 trusts the values (one-step error), 1 trusts the rewards (return minus value). */
  readonly gaeLambda: number;
}

/**
 * With δ_t = r_t + γ v_{t+1} − v_t and v = 0 after the last token: A_t = δ_t + γλ A_{t+1}; return_t = A_t + v_t.
 *
 * Tokens with mask 0 (of a user or a tool, or padding) are stepped over: the token before one sees the value and the
 * advantage of the next token that counts. A completion that was cut counts as ended.
 *
 * @throws ConfigError when γ or λ is outside [0, 1]; ShapeError when the shapes disagree
 * @source Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
 *   (arXiv 1506.02438), eq. 16
 * @example rewards [−0.01, 0.02, −0.03, 1], values [0.2, 0.1, 0.4, 0.5], γ 1, λ 0.95:
 *   advantages [0.685862, 0.837750, 0.545, 0.5], returns [0.885862, 0.937750, 0.945, 1]
 */
export function gae({ gamma, gaeLambda }: GaeOptions): AdvantageEstimator {
  for (const [name, value] of Object.entries({ gamma, gaeLambda })) {
    if (value >= 0 && value <= 1) continue;
    throw new ConfigError({ where: `gae(${name})`, expected: 'a number in [0, 1]', received: String(value) });
  }
  return ({ rewards, values, mask }) => {
    const { B, C } = checkShapes('gae', {
      rewards: [rewards, 'B C'],
      values: [values, 'B C'],
      mask: [mask, 'B C'],
    }) as Record<'B' | 'C', number>;
    const advantages = new Float64Array(B * C);
    const returns = new Float64Array(B * C);
    for (let row = 0; row < B; row++) {
      let nextValue = 0;
      let nextAdvantage = 0;
      for (let at = (row + 1) * C - 1; at >= row * C; at--) {
        if (mask.data[at] === 0) continue;
        const value = values.data[at]!;
        const error = rewards.data[at]! + gamma * nextValue - value;
        nextAdvantage = error + gamma * gaeLambda * nextAdvantage;
        nextValue = value;
        advantages[at] = nextAdvantage;
        returns[at] = nextAdvantage + value;
      }
    }
    return { advantages: hostTensor(advantages, [B, C]), returns: hostTensor(returns, [B, C]) };
  };
}
