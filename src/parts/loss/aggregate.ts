/** From a matrix of token losses to the number that is minimised. */
import { ConfigError } from '../../core/errors.ts';
import { checkShapes } from '../../core/shapes.ts';
import { div, maximum, mul } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import type { Tensor } from '../../graph/tensor.ts';

/** How token losses become one number; the name says the order of the means. */
export type Aggregation = 'token-mean' | 'sequence-mean-token-sum' | 'sequence-mean-token-mean';

/**
 * Sum of the losses of a micro-batch, not yet divided by the global count.
 * Dividing the sum over all micro-batches by the global number of tokens (`token-mean`) or of sequences (the others)
 * gives the loss of the whole batch, however it was cut: accumulation changes nothing.
 *
 * @param losses [B, T] per token, nats
 * @param mask [B, T], 1 = counts
 * @returns scalar
 */
export function aggregateSum(losses: Tensor, mask: Tensor, mode: Aggregation): Tensor {
  checkShapes('aggregateSum', { losses: [losses, 'B T'], mask: [mask, 'B T'] });
  const counted = mul(losses, mask);
  switch (mode) {
    case 'token-mean':
    case 'sequence-mean-token-sum':
      return sum(counted);
    case 'sequence-mean-token-mean':
      return sum(div(sum(counted, { axes: 1 }), maximum(sum(mask, { axes: 1 }), 1)));
    default:
      throw new ConfigError({
        where: 'aggregateSum',
        expected: 'a known aggregation',
        received: String(mode satisfies never),
      });
  }
}
