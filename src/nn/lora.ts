/** The weight of a linear layer with a trained low-rank change. */
import { stopGradient } from '../graph/ops/control.ts';
import { add, div, mul, sqrt, sub } from '../graph/ops/elementwise.ts';
import { matmul } from '../graph/ops/matmul.ts';
import { sum } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { conv1D, factored, type LinearLayout, linear } from './linear.ts';

export interface LoraTensors {
  /** [R, I] */
  readonly down: Tensor;
  /** [O, R] */
  readonly up: Tensor;
  /** Multiplies the product of both: α/R, or α/√R with rank stabilisation. */
  readonly scale: number;
  /** [O], with DoRA: length of each output's row of the weight. */
  readonly magnitude?: Tensor;
  /** What happens to the input of the change in training. */
  readonly dropout?: (x: Tensor) => Tensor;
}

/**
 * W + s·B A, whose product with x is x Wᵀ + s·(x Aᵀ) Bᵀ: the change costs R(I + O) products per token instead of I·O.
 *
 * With DoRA, row o of the sum is scaled to length m_o. The length that it has is a constant to differentiation. Dropout
 * then acts on the scaled part only: y = x Wᵀ + (f − 1)·d Wᵀ + f·s·(d Aᵀ) Bᵀ with d = dropout(x) and f = m / ‖W + s·B A‖.
 *
 * @param weight [O, I], or [I, O] in the layout of `Conv1D`
 * @returns a weight of the same layout for `linear` or `conv1D`; its numbers are those without dropout
 * @source Hu et al. 2022, "LoRA", eq. 3; Kalajdzievski 2023, "A Rank Stabilization Scaling Factor", for s = α/√R;
 *   Liu et al. 2024, "DoRA", eq. 5 and section 4.3
 */
export function loraWeight(weight: Tensor, layout: LinearLayout, tensors: LoraTensors): Tensor {
  const { down, up, scale, magnitude, dropout } = tensors;
  const base = (x: Tensor): Tensor => (layout === 'out-in' ? linear(x, weight) : conv1D(x, weight));
  const change = (x: Tensor): Tensor =>
    matmul(matmul(x, down, { transposeB: true }), up, { transposeB: true, alpha: scale });
  const sumOfBoth = add(weight, loraChange(layout, tensors));
  if (magnitude === undefined) {
    return factored(sumOfBoth, (x) => add(base(x), change(dropout?.(x) ?? x)));
  }
  const outputs = magnitude.shape[0]!;
  const inputAxis = layout === 'out-in' ? 1 : 0;
  const length = sqrt(sum(mul(sumOfBoth, sumOfBoth), { axes: inputAxis })); // [O]
  const factor = div(magnitude, stopGradient(length)); // [O]
  const scaled = mul(sumOfBoth, reshape(factor, layout === 'out-in' ? [outputs, 1] : [1, outputs]));
  return factored(scaled, (x) => {
    if (dropout === undefined) return mul(add(base(x), change(x)), factor);
    const dropped = dropout(x);
    return add(base(x), add(mul(base(dropped), sub(factor, 1)), mul(change(dropped), factor)));
  });
}

/** s·B A in the layout of the weight. */
export function loraChange(layout: LinearLayout, { down, up, scale }: LoraTensors): Tensor {
  return layout === 'out-in'
    ? matmul(up, down, { alpha: scale }) // [O, I]
    : matmul(down, up, { transposeA: true, transposeB: true, alpha: scale }); // [I, O]
}
