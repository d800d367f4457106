/** Scaled dot-product attention with grouped key/value heads, masks and a cache. */
import { checkShapes } from '../core/shapes.ts';
import { customGradient } from '../graph/gradient.ts';
import { constant, constantLike, iota } from '../graph/ops/common.ts';
import { add, and, equal, less, lessEqual, mul, sub, where } from '../graph/ops/elementwise.ts';
import { matmul } from '../graph/ops/matmul.ts';
import { cumulativeSum, softmax, sum } from '../graph/ops/reduce.ts';
import { concat, reshape, sliceAxis, transpose } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { softCap } from './soft-cap.ts';

/** Added to scores of pairs that may not attend: large enough that exp underflows to exactly 0 in float32, yet finite. */
const masked = -1e9;

/**
 * Additive mask [T, T]: position i sees positions 0..i.
 *
 * @param window of those, only the last `window` tokens, itself included; all when left out
 */
export function causalMask(T: number, window = T): Tensor {
  const data = new Float32Array(T * T);
  for (let row = 0; row < T; row++) {
    data.fill(masked, row * T, row * T + Math.max(0, row - window + 1));
    data.fill(masked, row * T + row + 1, (row + 1) * T);
  }
  return constant({ dtype: 'float32', shape: [T, T], data });
}

/**
 * Additive mask [B, 1, T, T] for packed rows: a position sees earlier positions of its own segment only.
 *
 * @param segments int32 or int64 [B, T]: 0 for padding, 1, 2, … for the examples packed into the row
 * @param window of those, only the last `window` tokens, itself included; all when left out
 */
export function packedMask(segments: Tensor, window?: number): Tensor {
  const [B, T] = segments.shape as [number, number];
  const same = equal(reshape(segments, [B, 1, T, 1]), reshape(segments, [B, 1, 1, T]));
  const order = iota(T, 'int32');
  const [from, to] = [reshape(order, [T, 1]), reshape(order, [1, T])];
  const earlier = and(same, lessEqual(to, from)); // [B, 1, T, T]
  const seen = window === undefined ? earlier : and(earlier, less(from, add(to, window)));
  return where(seen, 0, floatMasked());
}

/**
 * Additive mask [B, 1, 1, M]: true entries of the cache are those before each row's length.
 *
 * @param lengths int64 [B]
 * @param recent where attention has a window: its size, and the number T of new tokens, which follow the cached ones. The
 *   mask is then [B, 1, T, M]
 */
export function cacheMask(
  lengths: Tensor,
  M: number,
  recent?: { readonly window: number; readonly T: number },
): Tensor {
  const counts = reshape(lengths, [lengths.shape[0]!, 1, 1, 1]);
  const entries = reshape(iota(M, 'int64'), [1, 1, 1, M]);
  const filled = less(entries, counts);
  if (recent === undefined) return where(filled, 0, floatMasked());
  const positions = add(counts, reshape(iota(recent.T, 'int64'), [1, 1, recent.T, 1])); // [B, 1, T, 1]
  return where(and(filled, less(positions, add(entries, recent.window))), 0, floatMasked());
}

/**
 * Additive mask [B, 1, T, S] of the last T of S tokens, by what counts: a position sees those at or before it that count.
 * Everything is computed from the argument, so that it holds for sizes that only a run knows.
 *
 * @param counted int64 [B, S]: 1 for a token that counts, 0 for padding, wherever it is
 * @param window of those, only the last `window` positions, its own included; all when left out
 */
export function countedMask(counted: Tensor, T: number, window?: number): Tensor {
  const [B, S] = counted.shape as [number, number];
  const places = placesOf(counted);
  const to = reshape(places, [B, 1, 1, S]);
  const from = reshape(sliceAxis(places, 1, S - T, S), [B, 1, T, 1]);
  const earlier = and(reshape(less(0, counted), [B, 1, 1, S]), lessEqual(to, from));
  const seen = window === undefined ? earlier : and(earlier, less(from, add(to, window)));
  return where(seen, 0, floatMasked());
}

/**
 * Additive mask of attention in both directions: every position sees those that count.
 *
 * @param counted int64 [B, T]: 1 for a token that counts, 0 for padding
 * @param reach of those, only up to so many positions away on each side; all when left out
 * @returns [B, 1, 1, T], or [B, 1, T, T] with `reach`
 */
export function paddingMask(counted: Tensor, reach?: number): Tensor {
  const [B, T] = counted.shape as [number, number];
  const seen = reshape(less(0, counted), [B, 1, 1, T]);
  if (reach === undefined) return where(seen, 0, floatMasked());
  const places = placesOf(counted);
  const [from, to] = [reshape(places, [B, 1, T, 1]), reshape(places, [B, 1, 1, T])];
  const near = and(lessEqual(to, add(from, reach)), lessEqual(from, add(to, reach))); // [B, 1, T, T]
  return where(and(seen, near), 0, floatMasked());
}

/**
 * Positions 0 … T − 1 of each row, int64 [B, T], computed from a tensor of that shape, so that they hold for sizes that only a
 * run knows.
 *
 * @param like int64 [B, T]; its numbers do not matter
 */
export function placesOf(like: Tensor): Tensor {
  return sub(cumulativeSum(constantLike(like, 1), 1), 1);
}

function floatMasked(): Tensor {
  return constant({ dtype: 'float32', shape: [], data: Float32Array.of(masked) });
}

/** Keys and values of earlier positions, each [B, K, M, E], and which of them count ([B, 1, 1, M], additive). */
export interface Past {
  readonly key: Tensor;
  readonly value: Tensor;
  readonly mask: Tensor;
}

export interface ScoreOptions {
  /** Multiplies q kᵀ; 1 / √E when left out. */
  readonly scale?: number;
  /** Scores are bent to lie within ±cap (`softCap`) before they are masked; left as they are when left out. */
  readonly cap?: number;
}

/**
 * softmax(s) v with a gradient that passes over the scores' numbers twice instead of three times and a sum: with
 * w = softmax(s) and o = w v, dL/ds = w ∘ (dL/do vᵀ − Σ_e (dL/do ∘ o)), since the sum over w ∘ (dL/do vᵀ) is one over o.
 *
 * @param scores [..., R, S]
 * @param values [..., S, E]
 * @returns [..., R, E]
 * @source Dao et al. 2022, "FlashAttention", appendix B.2
 */
const mixBySoftmax = customGradient({
  forward(scores, values) {
    const weights = softmax(scores!);
    return [matmul(weights, values!), weights];
  },
  backward([, values], [mixed, weights], [g]) {
    const slopes = matmul(g!, values!, { transposeB: true }); // [..., R, S]
    const shared = sum(mul(g!, mixed!), { axes: -1, keepDims: true }); // [..., R, 1]
    return [mul(weights!, sub(slopes, shared)), matmul(weights!, g!, { transposeA: true })];
  },
});

/**
 * softmax(scale · q kᵀ + mask) v. Query head h reads key/value head ⌊h / (H/K)⌋.
 *
 * @param query [B, H, T, E]
 * @param key [B, K, S, E] with K a divisor of H
 * @param value [B, K, S, E]
 * @param mask additive, broadcastable to [B, H, T, S]
 * @param options.past earlier keys and values, attended besides `key`; they are read in place, not copied
 * @returns [B, H, T, E]
 * @source Vaswani et al. 2017, eq. 1; grouped heads: Ainslie et al. 2023
 */
export function attention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  mask: Tensor,
  { past, scale, cap }: ScoreOptions & { readonly past?: Past } = {},
): Tensor {
  const { B, H, T, E, K, S } = checkShapes('attention', {
    query: [query, 'B H T E'],
    key: [key, 'B K S E'],
    value: [value, 'B K S E'],
  }) as Record<'B' | 'H' | 'T' | 'E' | 'K' | 'S', number>;
  const group = H / K;
  // The queries that share a key head are rows of one product.
  const rows = reshape(query, [B, K, group * T, E]);
  const scoresOf = (keys: Tensor, width: number, keyMask: Tensor): Tensor => {
    const products = matmul(rows, keys, { transposeB: true, alpha: scale ?? 1 / Math.sqrt(E) });
    const scores = cap === undefined ? products : softCap(products, cap);
    return add(reshape(scores, [B, H, T, width]), keyMask);
  };
  const weigh = (weights: Tensor, values: Tensor, width: number): Tensor =>
    matmul(reshape(weights, [B, K, group * T, width]), values);
  if (past === undefined) {
    const scores = reshape(scoresOf(key, S, mask), [B, K, group * T, S]);
    return reshape(mixBySoftmax(scores, value)[0]!, [B, H, T, E]);
  }
  const M = past.key.shape[2]!;
  const scores = concat([scoresOf(past.key, M, past.mask), scoresOf(key, S, mask)], 3);
  const weights = softmax(scores); // [B, H, T, M + S]
  const fromPast = weigh(sliceAxis(weights, 3, 0, M), past.value, M);
  const fromNow = weigh(sliceAxis(weights, 3, M, M + S), value, S);
  return reshape(add(fromPast, fromNow), [B, H, T, E]);
}

/** Queries are cut into at most this many blocks, of at least so many positions: more blocks, more programs' nodes. */
const causalBlocks = 4;
const leastBlock = 64;

/**
 * `attention` where no position sees a later one, cut into blocks of queries that meet only the keys up to their own end:
 * with n blocks (n + 1)/2n of the scores are computed, 5/8 of them at four. Long rows spend most of their time and memory
 * on passes over scores, so they gain most.
 *
 * @param mask additive, [T, T] or [B, 1, T, T], that hides every later position
 * @param options.window of the mask, where it has one: keys that no query of a block sees are not computed
 * @returns [B, H, T, E], equal to `attention` but for rounding
 */
export function causalAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  mask: Tensor,
  { window, ...options }: ScoreOptions & { readonly window?: number } = {},
): Tensor {
  const T = query.shape[2]!;
  const block = Math.max(leastBlock, Math.ceil(T / causalBlocks));
  if (T <= block) return attention(query, key, value, mask, options);
  const parts: Tensor[] = [];
  for (let start = 0; start < T; start += block) {
    const end = Math.min(start + block, T);
    const first = window === undefined ? 0 : Math.max(0, start - window + 1);
    const rows = sliceAxis(mask, mask.rank - 2, start, end);
    parts.push(
      attention(
        sliceAxis(query, 2, start, end),
        sliceAxis(key, 2, first, end),
        sliceAxis(value, 2, first, end),
        sliceAxis(rows, mask.rank - 1, first, end),
        options,
      ),
    );
  }
  return concat(parts, 2);
}

/** [B, T, H·E] → [B, H, T, E]. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [B, T, width] = x.shape as [number, number, number];
  if (T === 1) return reshape(x, [B, heads, 1, width / heads]); // the same order of numbers, without a copy
  return transpose(reshape(x, [B, T, heads, width / heads]), [0, 2, 1, 3]);
}

/** [B, H, T, E] → [B, T, H·E]. */
export function mergeHeads(x: Tensor): Tensor {
  const [B, H, T, E] = x.shape as [number, number, number, number];
  if (T === 1) return reshape(x, [B, 1, H * E]);
  return reshape(transpose(x, [0, 2, 1, 3]), [B, T, H * E]);
}
