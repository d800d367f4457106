/** Products with the weight of a linear layer, in both layouts that checkpoints have. */
import { add } from '../graph/ops/elementwise.ts';
import { matmul } from '../graph/ops/matmul.ts';
import type { Tensor } from '../graph/tensor.ts';

/** How the matrix of a linear layer is stored: [out, in] (`nn.Linear`), or [in, out] (GPT-2's `Conv1D`). */
export type LinearLayout = 'out-in' | 'in-out';

/** x [..., I] → [..., O]: what a linear layer does with its input before the bias. */
export type Product = (x: Tensor) => Tensor;

const products = new WeakMap<Tensor, Product>();

/**
 * A weight whose product with an input is cheaper than by its numbers: `linear` and `conv1D` use `product`. Wherever else
 * the tensor is used, it stands for its numbers, which are then computed: nothing has to know that a weight is factored.
 *
 * @param value the numbers, a tensor that nothing else refers to
 * @param product must equal the product with `value` in the layout of the layer
 */
export function factored(value: Tensor, product: Product): Tensor {
  products.set(value, product);
  return value;
}

/** y = x Wᵀ + b. x [..., I], weight [O, I] (Hugging Face layout), bias [O] → [..., O]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return affine(x, weight, 'out-in', bias);
}

/** y = x W + b. x [..., I], weight [I, O] (GPT-2's layout), bias [O] → [..., O]. */
export function conv1D(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return affine(x, weight, 'in-out', bias);
}

function affine(x: Tensor, weight: Tensor, layout: LinearLayout, bias?: Tensor): Tensor {
  const y = products.get(weight)?.(x) ?? matmul(x, weight, { transposeB: layout === 'out-in' });
  return bias === undefined ? y : add(y, bias);
}
