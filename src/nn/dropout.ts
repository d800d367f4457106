/** Dropout whose mask is a function of numbers that are passed in: computed again it is the same, and a resumed run meets it again. */
import { ShapeError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import { sizeOf } from '../core/shapes.ts';
import { constant } from '../graph/ops/common.ts';
import { after } from '../graph/ops/control.ts';
import { add, cast, greaterEqual, mul, remainder } from '../graph/ops/elementwise.ts';
import { reshape, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';

/** The largest prime below 2²⁶: products of two remainders are exact in float64, where the interpreter computes. */
export const DROPOUT_PRIME = 67_108_859;

/** Random numbers of a mask. */
export interface DropoutKeys {
  /** int64 [2, N]: factor and offset of each token, in [1, p) and [0, p) */
  readonly tokens: Tensor;
  /** int64 [I]: number of each feature, in [0, p) */
  readonly features: Tensor;
}

/**
 * x/(1 − rate) where z ≥ rate·p and 0 elsewhere, with z = (a_t·v_i + b_t) mod p for token t and feature i.
 *
 * Over the draws of (a_t, b_t), z of two features of a token are independent (for v_i ≠ v_j), and tokens are independent
 * of each other. The mask costs no numbers from the host but three per token, and no memory while it is not computed.
 *
 * @param x [..., I] with N tokens in its leading dimensions
 * @param rate share that is set to 0, in [0, 1)
 * @throws ShapeError when the keys are not those of N tokens and I features
 * @source Srivastava et al. 2014, "Dropout", with the mask from the strongly universal hash family of Carter & Wegman
 *   1979, "Universal classes of hash functions", and Wegman & Carter 1981, section 2
 */
export function dropout(x: Tensor, { tokens, features }: DropoutKeys, rate: number): Tensor {
  const I = x.shape.at(-1)!;
  const N = sizeOf(x.shape.slice(0, -1));
  if (tokens.shape.length !== 2 || tokens.shape[1] !== N || features.shape[0] !== I) {
    throw new ShapeError({
      where: 'dropout',
      expected: `keys of ${N} tokens and ${I} features`,
      received: `${tokens} and ${features}`,
      fix: 'Draw keys for the shape of the input',
    });
  }
  const prime = constant({ dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(DROPOUT_PRIME)) });
  const limit = constant({
    dtype: 'int64',
    shape: [],
    data: BigInt64Array.of(BigInt(Math.round(rate * DROPOUT_PRIME))),
  });
  // Not before x is there: where x is computed again for the gradient, the mask is too, and none is kept until then.
  const late = after(tokens, [x]);
  const [factors, offsets] = [row(late, 0), row(late, 1)];
  const z = remainder(add(mul(factors, reshape(features, [1, I])), offsets), prime); // [N, I]
  const mask = mul(cast(greaterEqual(z, limit), 'float32'), 1 / (1 - rate));
  return mul(x, reshape(mask, x.shape));
}

function row(tokens: Tensor, index: number): Tensor {
  return reshape(sliceAxis(tokens, 0, index, index + 1), [tokens.shape[1]!, 1]);
}

/** Numbers of `DropoutKeys.tokens`: a function of the stream and the counters. */
export function drawTokenKeys(count: number, rng: Rng, ...counters: readonly number[]): BigInt64Array {
  const keys = new BigInt64Array(2 * count);
  for (let token = 0; token < count; token++) {
    keys[token] = BigInt(1 + rng.integer(DROPOUT_PRIME - 1, ...counters, token, 0));
    keys[count + token] = BigInt(rng.integer(DROPOUT_PRIME, ...counters, token, 1));
  }
  return keys;
}

/** Numbers of `DropoutKeys.features` for all features of a model. */
export function drawFeatureKeys(count: number, rng: Rng): BigInt64Array {
  return BigInt64Array.from({ length: count }, (_, feature) => BigInt(rng.integer(DROPOUT_PRIME, feature)));
}
