/** Log-sums, log-sigmoids and their kin, accurate in both tails. Use these; never write `log(1 + exp(x))`. */
import { ShapeError } from '../core/errors.ts';
import { customGradient } from './gradient.ts';
import { stopGradient } from './ops/control.ts';
import {
  abs,
  add,
  and,
  clamp,
  div,
  equal,
  exp,
  expm1,
  greater,
  less,
  log,
  log1p,
  maximum,
  minimum,
  mul,
  neg,
  reciprocal,
  sub,
  where,
} from './ops/elementwise.ts';
import { logSoftmax, max, type ReduceOptions, softmax, sum, sumTo } from './ops/reduce.ts';
import { reshape } from './ops/shape.ts';
import type { Tensor } from './tensor.ts';

/** log(1 + exp(−|x|)), the part of softplus that fades in both directions. */
const fading = (x: Tensor): Tensor => log1p(exp(neg(abs(x))));

/**
 * σ(x) = exp(min(x, 0) − log(1 + exp(−|x|))): accurate relative to itself for every x. ONNX Runtime's Sigmoid is accurate
 * to 1e-7 absolute only, and 0 below −18.
 */
const accurateSigmoid = (x: Tensor): Tensor => exp(sub(minimum(x, 0), fading(x)));

const softplusRule = customGradient({
  forward: (x) => [add(maximum(x!, 0), fading(x!))],
  backward: ([x], _outputs, [g]) => [mul(g!, accurateSigmoid(x!))],
});

/**
 * log(1 + exp(x)) = max(x, 0) + log1p(exp(−|x|)) per element; derivative σ(x). Finite for every finite x.
 *
 * @example softplus(−30) = 9.4e-14, softplus(10⁴) = 10⁴
 */
export function softplus(x: Tensor): Tensor {
  return softplusRule(x)[0]!;
}

/**
 * log σ(x) = −softplus(−x) per element, in nats; derivative σ(−x).
 *
 * @example logSigmoid(−10⁴) = −10⁴, not −Infinity; logSigmoid(30) = −9.4e-14, not 0
 */
export function logSigmoid(x: Tensor): Tensor {
  return neg(softplus(neg(x)));
}

const log1mexpRule = customGradient({
  forward: (x) => [where(less(-Math.LN2, x!), log(neg(expm1(x!))), log1p(neg(exp(x!))))],
  backward: ([x], _outputs, [g]) => [neg(mul(g!, reciprocal(expm1(neg(x!)))))],
});

/**
 * log(1 − exp(x)) per element for x < 0: log(−expm1(x)) near 0, log1p(−exp(x)) far from it; derivative −1 / (exp(−x) − 1).
 * With x a log-probability it is the log-probability of anything else. −Infinity at 0, NaN above.
 *
 * @source Mächler 2012, "Accurately computing log(1 − exp(−|a|))", eq. 7
 */
export function log1mexp(x: Tensor): Tensor {
  return log1mexpRule(x)[0]!;
}

/**
 * log Σ exp(x) over axes, shifted by the largest element; derivative softmax. Shape as `sum` with the same options.
 * Elements of −Infinity count for nothing, with gradient 0; rows of nothing else give −Infinity.
 *
 * @throws ShapeError when a reduced axis is empty
 */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  const keeping = { ...options, keepDims: true };
  const parts = (input: Tensor) => {
    const top = stopGradient(max(input, keeping));
    const shift = where(less(abs(top), Number.POSITIVE_INFINITY), top, 0);
    const shifted = exp(sub(input, shift));
    return { shift, shifted, total: sum(shifted, keeping) };
  };
  const rule = customGradient({
    forward(input) {
      const { shift, total } = parts(input!);
      return [add(log(total), shift)];
    },
    // Not exp(x − result): the result is rounded to its own size, which may be thousands. Common subexpressions are merged.
    backward([input], _outputs, [g]) {
      const { shifted, total } = parts(input!);
      return [mul(shifted, div(g!, where(greater(total, 0), total, 1)))];
    },
  });
  const kept = rule(x)[0]!;
  return options.keepDims === true ? kept : reshape(kept, sum(x, options).shape);
}

const logAddExpRule = customGradient({
  forward: (a, b) => [add(maximum(a!, b!), fading(difference(a!, b!)))],
  backward: ([a, b], _outputs, [g]) => [
    sumTo(mul(g!, accurateSigmoid(difference(a!, b!))), a!.shape),
    sumTo(mul(g!, accurateSigmoid(difference(b!, a!))), b!.shape),
  ],
});

/** a − b, and 0 for equal infinities. */
function difference(a: Tensor, b: Tensor): Tensor {
  return where(and(equal(a, b), equal(abs(a), Number.POSITIVE_INFINITY)), 0, sub(a, b));
}

/**
 * log(exp(a) + exp(b)) = max(a, b) + log1p(exp(−|a − b|)) per element; derivatives σ(a − b) and σ(b − a).
 * −Infinity is the neutral element.
 */
export function logAddExp(a: Tensor, b: Tensor): Tensor {
  return logAddExpRule(a, b)[0]!;
}

const entropyRule = customGradient({
  forward: (x) => [neg(sum(mul(softmax(x!), boundedLogSoftmax(x!)), { axes: -1, keepDims: true }))],
  backward: ([x], [entropy], [g]) => [
    neg(mul(mul(g!, softmax(x!)), add(boundedLogSoftmax(x!), entropy!))), // −p (log p + H)
  ],
});

/** Impossible entries have probability 0 and a log-probability that 0 can multiply. */
const boundedLogSoftmax = (x: Tensor): Tensor => clamp(logSoftmax(x), -1e30, Number.POSITIVE_INFINITY);

/**
 * Shannon entropy in nats of the distribution softmax(x) over the last axis: −Σ p log p; derivative −p (log p + H).
 * Entries of −Infinity are impossible: they add nothing and get no gradient. Not a number for rows of nothing else.
 *
 * @param x logits [..., V]
 * @returns [...], between 0 and log V
 * @throws ShapeError when x is a scalar
 */
export function softmaxEntropy(x: Tensor): Tensor {
  if (x.rank === 0)
    throw new ShapeError({
      where: 'softmaxEntropy',
      expected: 'logits of rank 1 or more',
      received: 'a scalar',
    });
  return reshape(entropyRule(x)[0]!, x.shape.slice(0, -1));
}
