import type { Parameters } from '../nn/parameters.ts';

/** Elements per partial sum: short enough that float64 rounding never matters, fixed so that the result is one number. */
const block = 4096;

/**
 * L2 norm √Σ g², accumulated in float64 by blocks in order: the same vector always gives the same norm.
 *
 * @param gradients flat vector
 * @returns NaN or Infinity when an element is not finite
 */
export function globalNorm(gradients: Float32Array): number {
  let total = 0;
  for (let start = 0; start < gradients.length; start += block) {
    const end = Math.min(start + block, gradients.length);
    let part = 0;
    for (let i = start; i < end; i++) part += gradients[i]! * gradients[i]!;
    total += part;
  }
  return Math.sqrt(total);
}

/**
 * min(1, limit / (norm + 10⁻⁶)): the factor that brings a gradient down to norm `limit`.
 *
 * @source Pascanu et al. 2013, algorithm 1; the 10⁻⁶ is PyTorch's `clip_grad_norm_`
 */
export function clipScale(norm: number, limit: number): number {
  return Math.min(1, limit / (norm + 1e-6));
}

/** Name of the first parameter that holds NaN or an infinity, if any. */
export function firstNonFinite(parameters: Parameters): string | undefined {
  return parameters.specs.find(({ name }) => !parameters.view(name).every(Number.isFinite))?.name;
}
