/** Linear heads on the final hidden states of a decoder: a number per sequence, or a number per token. */
import { checkShapes } from '../core/shapes.ts';
import { gather } from '../graph/ops/indexing.ts';
import { reshape } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import { linear } from './linear.ts';

/**
 * Scores of sequences, read at one position of each: h[b, last_b] Wᵀ.
 *
 * In a causal model the hidden state of the last real token has seen the whole sequence and none of the padding, so the
 * score does not depend on the batch around it. The position is data; it is never found by comparing ids with a padding
 * id, which may be the end-of-text token itself.
 *
 * @param hidden [B, T, D] final normalised hidden states
 * @param weight [A, D], Hugging Face's `score.weight`
 * @param last int64 [B]: flat index b·T + t of each sequence's last real token
 * @returns [B, A]
 * @throws ShapeError when the shapes disagree
 */
export function scoreHead(hidden: Tensor, weight: Tensor, last: Tensor): Tensor {
  const { B, T, D } = checkShapes('scoreHead', {
    hidden: [hidden, 'B T D'],
    weight: [weight, 'A D'],
    last: [last, 'B'],
  }) as Record<'B' | 'T' | 'D', number>;
  return linear(gather(reshape(hidden, [B * T, D]), last), weight);
}

/**
 * A value at every token: h[b, t] wᵀ. The value of the state before token t + 1 is the one at column t.
 *
 * @param hidden [B, T, D]
 * @param weight [1, D]
 * @returns [B, T]
 * @throws ShapeError when the shapes disagree
 */
export function valueHead(hidden: Tensor, weight: Tensor): Tensor {
  const { B, T } = checkShapes('valueHead', { hidden: [hidden, 'B T D'], weight: [weight, '1 D'] }) as Record<
    'B' | 'T',
    number
  >;
  return reshape(linear(hidden, weight), [B, T]);
}
