/** The clipped surrogate of PPO. */
import { ConfigError } from '../../core/errors.ts';
import { checkShapes } from '../../core/shapes.ts';
import {
  clamp,
  div,
  exp,
  greater,
  less,
  maximum,
  minimum,
  mul,
  neg,
  sub,
  where,
} from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { broadcastTo } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { largestLogRatio } from '../kl.ts';

export interface PolicyClipInput {
  /** log π(token) now, [B, C] */
  readonly logProbs: Tensor;
  /** log π(token) at rollout, [B, C]; constant */
  readonly oldLogProbs: Tensor;
  /** [B, C]; constant */
  readonly advantages: Tensor;
  /** [B, C], 1 = counts; needed where the ratio is one of sequences */
  readonly mask?: Tensor;
}

export interface PolicyClipOptions {
  /** Lower clip: the ratio counts from 1 − clipRange. */
  readonly clipRange: number;
  /** Upper clip: up to 1 + clipRangeHigh; `clipRange` when left out. */
  readonly clipRangeHigh?: number;
  /** Where the advantage is negative, the loss is at most −dualClip · advantage. Above 1; off when left out. */
  readonly dualClip?: number;
  /** Whose ratio is clipped: each token's (default), or the sequence's, from the mean or the sum of its log-ratios. */
  readonly ratio?: RatioLevel;
}

/** Whose ratio: each token's, or the sequence's, from the mean or the sum of its log-ratios. */
export type RatioLevel = 'token' | 'sequence-mean' | 'sequence-sum';

/** A loss per token, and where clipping took effect. */
export interface ClippedLosses {
  /** [B, C], not masked */
  readonly losses: Tensor;
  /** bool [B, C] */
  readonly clipped: Tensor;
}

/** π/π_old per token, [B, C]. */
export function probabilityRatio(logProbs: Tensor, oldLogProbs: Tensor): Tensor {
  return exp(clamp(sub(logProbs, oldLogProbs), -largestLogRatio, largestLogRatio));
}

/**
 * π/π_old of whole sequences on each of their tokens, [B, C]: exp of the mean or the sum of the log-ratios of tokens that count.
 *
 * @source mean: Zheng et al. 2025, "Group Sequence Policy Optimization" (arXiv 2507.18071), eq. 7; sum: Ahmadian et al. 2024
 * @example log-ratios [0.1, −0.2, 0.3]: 1.068939 by the mean, 1.221403 by the sum
 */
export function sequenceRatio(
  logProbs: Tensor,
  oldLogProbs: Tensor,
  mask: Tensor,
  of: 'mean' | 'sum',
): Tensor {
  const total = sum(mul(sub(logProbs, oldLogProbs), mask), { axes: 1, keepDims: true }); // [B, 1]
  const change = of === 'sum' ? total : div(total, maximum(sum(mask, { axes: 1, keepDims: true }), 1));
  return broadcastTo(exp(clamp(change, -largestLogRatio, largestLogRatio)), logProbs.shape);
}

/**
 * max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε_high)) per token, with ρ = π/π_old. Its gradient is that of −A·log π where ρ = 1, and
 * exactly 0 where the ratio has left the range in the direction that the advantage asks for.
 *
 * @throws ShapeError when the shapes disagree
 * @source Schulman et al. 2017, "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), eq. 7; dual clip: Ye et al.
 *   2020 (arXiv 1912.09729), eq. 4; two ranges: Yu et al. 2025 (arXiv 2503.14476), eq. 10
 * @example ε 0.2, (ρ, A) = (1.5, 1), (0.5, 1), (1.5, −1), (0.5, −1): −1.2, −0.5, 1.5, 0.8
 */
export function policyClipLoss(
  { logProbs, oldLogProbs, advantages, mask }: PolicyClipInput,
  { clipRange, clipRangeHigh = clipRange, dualClip, ratio: level = 'token' }: PolicyClipOptions,
): ClippedLosses {
  checkShapes('policyClipLoss', {
    logProbs: [logProbs, 'B C'],
    oldLogProbs: [oldLogProbs, 'B C'],
    advantages: [advantages, 'B C'],
  });
  const ratio = ratioOf({ logProbs, oldLogProbs, mask }, level);
  const descent = neg(advantages);
  const free = mul(descent, ratio);
  const bounded = mul(descent, clamp(ratio, 1 - clipRange, 1 + clipRangeHigh));
  const losses = maximum(free, bounded);
  const clipped = greater(bounded, free);
  if (dualClip === undefined) return { losses, clipped };
  return {
    losses: where(less(advantages, 0), minimum(losses, mul(descent, dualClip)), losses),
    clipped,
  };
}

/** π/π_old as `level` says, [B, C]. @throws ConfigError when it is one of sequences and there is no mask */
export function ratioOf(
  {
    logProbs,
    oldLogProbs,
    mask,
  }: Pick<PolicyClipInput, 'logProbs' | 'oldLogProbs'> & { readonly mask?: Tensor | undefined },
  level: RatioLevel,
): Tensor {
  return level === 'token'
    ? probabilityRatio(logProbs, oldLogProbs)
    : sequenceRatio(logProbs, oldLogProbs, requireMask(mask), level === 'sequence-sum' ? 'sum' : 'mean');
}

function requireMask(mask: Tensor | undefined): Tensor {
  if (mask !== undefined) return mask;
  throw new ConfigError({
    where: 'ratioOf',
    expected: 'a mask, which says what a sequence is',
    received: 'none',
  });
}
