/** The clipped value loss of PPO. */
import { checkShapes } from '../../core/shapes.ts';
import { add, clamp, greater, maximum, mul, square, sub } from '../../graph/ops/elementwise.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { ClippedLosses } from './policy-clip.ts';

export interface ValueClipInput {
  /** v now, [B, C] */
  readonly values: Tensor;
  /** v at rollout, [B, C]; constant */
  readonly oldValues: Tensor;
  /** [B, C]; constant */
  readonly returns: Tensor;
}

/**
 * 0.5 · max((v − R)², (clip(v, v_old − ε, v_old + ε) − R)²) per token.
 *
 * @param clipRange ε in units of reward: 0.2 is loose for rewards in [0, 1] and freezes the critic for rewards of ±50
 * @throws ShapeError when the shapes disagree
 * @source openai/baselines `ppo2/model.py` (not in the paper); huggingface/trl v0.24.0 `trl/trainer/ppo_trainer.py`
 * @example v [1, 0.5], v_old [0.5, 0.6], R [0.9, 0.55], ε 0.2: [0.02, 0.00125]
 */
export function valueClipLoss(
  { values, oldValues, returns }: ValueClipInput,
  clipRange: number,
): ClippedLosses {
  checkShapes('valueClipLoss', {
    values: [values, 'B C'],
    oldValues: [oldValues, 'B C'],
    returns: [returns, 'B C'],
  });
  const near = add(oldValues, clamp(sub(values, oldValues), -clipRange, clipRange));
  const free = square(sub(values, returns));
  const bounded = square(sub(near, returns));
  return { losses: mul(maximum(free, bounded), 0.5), clipped: greater(bounded, free) };
}
