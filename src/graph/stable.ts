/** Log-sums, log-sigmoids and their kin, accurate in both tails. Use these; never write `log(1 + exp(x))`. */
import { ShapeError } from '../core/errors.ts';
import { customGradient } from './gradient.ts';
import { stopGradient } from './ops/control.ts';
import {
  abs,
  add,
  exp,
  expm1,
  less,
  log,
  log1p,
  maximum,
  mul,
  neg,
  sigmoid,
  sub,
  where,
} from './ops/elementwise.ts';
import { logSoftmax, max, type ReduceOptions, softmax, sum } from './ops/reduce.ts';
import { reshape } from './ops/shape.ts';
import type { Tensor } from './tensor.ts';

const softplusRule = customGradient({
  forward: (x) => [add(maximum(x!, 0), log1p(exp(neg(abs(x!)))))],
  backward: ([x], _outputs, [g]) => [mul(g!, sigmoid(x!))],
});

/** log(1 + exp(x)) = max(x, 0) + log1p(exp(−|x|)); derivative sigmoid(x). Finite for every finite x. */
export function softplus(x: Tensor): Tensor {
  return softplusRule(x)[0]!;
}

/** log σ(x) = −softplus(−x); derivative σ(−x). At −10⁴ it is −10⁴, not −Infinity. */
export function logSigmoid(x: Tensor): Tensor {
  return neg(softplus(neg(x)));
}

/**
 * log(1 − exp(x)) for x < 0: log(−expm1(x)) near 0, log1p(−exp(x)) far from it.
 * @source Mächler 2012, "Accurately computing log(1 − exp(−|a|))", eq. 7
 */
export function log1mexp(x: Tensor): Tensor {
  const near = less(-Math.LN2, x);
  // Each branch sees a harmless argument where the other is taken, so that its gradient stays finite.
  const nearX = where(near, x, -Math.LN2);
  const farX = where(near, -Math.LN2, x);
  return where(near, log(neg(expm1(nearX))), log1p(neg(exp(farX))));
}

/** log Σ exp(x) over axes, shifted by the largest element; derivative softmax. Rows of −Infinity give −Infinity. */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  const top = stopGradient(max(x, { ...options, keepDims: true }));
  const shift = where(less(abs(top), Number.POSITIVE_INFINITY), top, 0);
  const kept = add(log(sum(exp(sub(x, shift)), { ...options, keepDims: true })), shift);
  if (options.keepDims === true) return kept;
  const shape = sum(x, options).shape;
  return reshape(kept, shape);
}

/** log(exp(a) + exp(b)) = max(a, b) + log1p(exp(−|a − b|)). */
export function logAddExp(a: Tensor, b: Tensor): Tensor {
  const difference = sub(a, b);
  return add(b, softplus(difference));
}

/** Shannon entropy in nats of the distribution softmax(x) over the last axis: logSumExp(x) − Σ softmax(x)·x. */
export function softmaxEntropy(x: Tensor): Tensor {
  if (x.rank === 0)
    throw new ShapeError({
      where: 'softmaxEntropy',
      expected: 'logits of rank 1 or more',
      received: 'a scalar',
    });
  const logProbs = logSoftmax(x);
  return neg(sum(mul(softmax(x), logProbs), { axes: -1 }));
}
