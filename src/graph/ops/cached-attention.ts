/** Attention of one new token per row over a cache of keys and values that it extends, in place where an engine can. */
import { ShapeError } from '../../core/errors.ts';
import { checkShapes, formatShape } from '../../core/shapes.ts';
import { apply, type Op, type Tensor } from '../tensor.ts';
import { requireDType, value } from './common.ts';

/**
 * Stores the new key and value at position `lengths[b]` of each row's cache and attends over positions 0 … lengths[b].
 * Outputs: the mixture and both caches after the store. A program may bind a cache and its result to the same memory:
 * ONNX Runtime then stores one position and copies nothing. What lies after `lengths[b]` is neither read nor defined.
 * No gradient: it is for decoding.
 */
export const cachedAttentionOp: Op<{ scale: number }> = {
  name: 'cachedAttention',
  infer([query, key, newValue, pastKey, pastValue, lengths]) {
    const { H, K, M, E } = checkShapes('cachedAttention', {
      query: [query!, 'B H T E'],
      key: [key!, 'B K T E'],
      value: [newValue!, 'B K T E'],
      pastKey: [pastKey!, 'B K M E'],
      pastValue: [pastValue!, 'B K M E'],
      lengths: [lengths!, 'B'],
    }) as Record<'H' | 'K' | 'M' | 'E', number>;
    for (const x of [query!, key!, newValue!, pastKey!, pastValue!])
      requireDType('cachedAttention', x, ['float32']);
    requireDType('cachedAttention(lengths)', lengths!, ['int64']);
    if (query!.shape[2] !== 1 || M < 2 || H % K !== 0 || E % 8 !== 0) {
      throw new ShapeError({
        where: 'cachedAttention',
        expected:
          'one new token per row, room for 2 or more, a head size divisible by 8, and key heads that divide the query heads',
        received: `query ${formatShape(query!.shape)} and cache ${formatShape(pastKey!.shape)}`,
      });
    }
    return [query!, pastKey!, pastValue!];
  },
  evaluate([query, key, newValue, pastKey, pastValue, lengths], { scale }) {
    const [B, H, , E] = query!.shape as [number, number, number, number];
    const [, K, M] = pastKey!.shape as [number, number, number, number];
    const keys = pastKey!.data.slice();
    const values = pastValue!.data.slice();
    const out = new Float64Array(query!.data.length);
    for (let row = 0; row < B * K; row++) {
      const at = (row * M + lengths!.data[Math.floor(row / K)]!) * E;
      keys.set(key!.data.subarray(row * E, (row + 1) * E), at);
      values.set(newValue!.data.subarray(row * E, (row + 1) * E), at);
    }
    for (let head = 0; head < B * H; head++) {
      const row = Math.floor(head / (H / K));
      const scores: number[] = [];
      for (let m = 0; m <= lengths!.data[Math.floor(head / H)]!; m++) {
        let score = 0;
        for (let e = 0; e < E; e++) score += query!.data[head * E + e]! * keys[(row * M + m) * E + e]!;
        scores.push(score * scale);
      }
      const highest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - highest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const [m, weight] of weights.entries()) {
        for (let e = 0; e < E; e++)
          out[head * E + e] = out[head * E + e]! + (weight / total) * values[(row * M + m) * E + e]!;
      }
    }
    return [value(out, query!.shape), value(keys, pastKey!.shape), value(values, pastValue!.shape)];
  },
  lower(lowering, [query, key, newValue, pastKey, pastValue, lengths], { inputs, attributes: { scale } }) {
    const [B, H, , E] = inputs[0]!.shape as [number, number, number, number];
    const [, K, M] = inputs[3]!.shape as [number, number, number, number];
    // One token: [B, H, 1, E] and [B, 1, H·E] are the same numbers in the same order.
    const flat = (x: string, heads: number): string =>
      lowering.node('Reshape', [x, lowering.ints([B, 1, heads * E])])[0]!;
    const int32 = 6;
    const [counts] = lowering.node('Cast', [lengths!], { attributes: { to: { int: int32 } } });
    const [mixed, presentKey, presentValue] = lowering.node(
      'GroupQueryAttention',
      [
        flat(query!, H),
        flat(key!, K),
        flat(newValue!, K),
        pastKey!,
        pastValue!,
        counts!,
        lowering.scalar(M, 'int32'),
      ],
      {
        domain: 'com.microsoft',
        attributes: { num_heads: { int: H }, kv_num_heads: { int: K }, scale: { float: scale } },
        outputs: 3,
      },
    );
    return [lowering.node('Reshape', [mixed!, lowering.ints([B, H, 1, E])])[0]!, presentKey!, presentValue!];
  },
};

/** What attention over a cache returns. */
export interface CachedAttention {
  /** [B, H, 1, E] */
  readonly mixed: Tensor;
  /** The caches with the new token stored, each [B, K, M, E]. */
  readonly key: Tensor;
  readonly value: Tensor;
}

/**
 * softmax(scale · q kᵀ) v over the first `lengths[b]` cached positions and the new one. Query head h reads key/value head
 * ⌊h / (H/K)⌋.
 *
 * @param query [B, H, 1, E] with E a multiple of 8 (what ONNX Runtime's kernel takes)
 * @param key [B, K, 1, E], stored at position `lengths[b]`, which is below M; `value` likewise
 * @param past the caches, each [B, K, M, E] with M ≥ 2
 * @param lengths int64 [B], cached tokens per row
 * @param scale multiplies the scores; 1 / √E when left out
 * @throws ShapeError when the shapes do not fit
 */
export function cachedAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  past: { readonly key: Tensor; readonly value: Tensor },
  lengths: Tensor,
  scale = 1 / Math.sqrt(query.shape[3]!),
): CachedAttention {
  const inputs = [query, key, value, past.key, past.value, lengths];
  const [mixed, newKey, newValue] = apply(cachedAttentionOp, inputs, { scale });
  return { mixed: mixed!, key: newKey!, value: newValue! };
}
