import { mul, tanh } from '../graph/ops/elementwise.ts';
import type { Tensor } from '../graph/tensor.ts';

/**
 * cap · tanh(x / cap): close to x near 0, never beyond ±cap. Of any shape.
 *
 * @param cap above 0, in the unit of x
 * @source Gemma Team 2024, "Gemma 2", section 2
 * @example softCap(x, 30) // 1 → 0.9996, 30 → 22.8, 300 → 30
 */
export const softCap = (x: Tensor, cap: number): Tensor => mul(tanh(mul(x, 1 / cap)), cap);
