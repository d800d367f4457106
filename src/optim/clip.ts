/** Size and soundness of a gradient. */
import type { Parameters } from '../nn/parameters.ts';
import { sumOfSquares } from './kernels.ts';

/**
 * L2 norm √Σ g², accumulated in float64 in an order that depends on nothing but the length (see `sumOfSquares`): the
 * same vector always gives the same norm, to the bit.
 *
 * @param gradients flat vector
 * @returns NaN or Infinity exactly when an element is not finite: squares of float32 numbers cannot overflow float64
 * @example globalNorm(Float32Array.of(3, 4)); // 5
 */
export function globalNorm(gradients: Float32Array): number {
  return Math.sqrt(sumOfSquares(gradients));
}

/**
 * min(1, limit / (norm + 10⁻⁶)): the factor that brings a gradient down to norm `limit`; 1 when it is shorter.
 *
 * @param norm as `globalNorm` gives it; the result is NaN when it is NaN
 * @param limit the largest norm allowed, above 0
 * @source Pascanu, Mikolov & Bengio 2013, algorithm 1; the 10⁻⁶ is that of PyTorch's `clip_grad_norm_`
 * @example clipScale(4, 1); // 0.24999994: the clipped gradient has norm 0.99999975
 */
export function clipScale(norm: number, limit: number): number {
  return Math.min(1, limit / (norm + 1e-6));
}

/**
 * Name of the first parameter, in the order of the specs, that holds NaN or an infinity; undefined when all numbers are
 * finite.
 */
export function firstNonFinite(parameters: Pick<Parameters, 'specs' | 'view'>): string | undefined {
  return parameters.specs.find(({ name }) => !Number.isFinite(sumOfSquares(parameters.view(name))))?.name;
}
