/** Zero mean and unit variance over the tokens that count. */
import { type HostTensor, hostTensor } from '../../core/host-tensor.ts';
import { checkShapes } from '../../core/shapes.ts';

export interface WhitenOptions {
  /** Whether the mean goes to 0; false keeps it and changes the scale only. Default true. */
  readonly centered?: boolean;
  /** Divide squares by n (`population`, the default) or n − 1 (`sample`, as TRL). */
  readonly variance?: 'population' | 'sample';
}

/** Added to the variance: equal numbers become 0, not NaN. */
const epsilon = 1e-8;

/**
 * (x − μ) / √(σ² + 1e-8) over the elements with mask 1, plus μ unless `centered`; 0 elsewhere. Of fewer than two
 * elements the variance counts as 0.
 *
 * @param x [B, C]
 * @param mask [B, C], 1 = counts
 * @returns [B, C]
 * @throws ShapeError when the shapes disagree
 * @source huggingface/trl v0.24.0 `trl/core.py` `masked_whiten`, which takes the sample variance
 * @example [0.685862, 0.83775, 0.545, 0.5]: population [0.330849, 1.480532, −0.735381, −1.076]; sample
 *   [0.286524, 1.282179, −0.636859, −0.931844]
 */
export function whiten(
  x: HostTensor<Float64Array>,
  mask: HostTensor<Uint8Array>,
  { centered = true, variance = 'population' }: WhitenOptions = {},
): HostTensor<Float64Array> {
  checkShapes('whiten', { x: [x, 'B C'], mask: [mask, 'B C'] });
  let count = 0;
  let total = 0;
  for (let i = 0; i < x.data.length; i++) {
    if (mask.data[i] === 0) continue;
    count++;
    total += x.data[i]!;
  }
  const mean = total / Math.max(count, 1);
  let squares = 0;
  for (let i = 0; i < x.data.length; i++) if (mask.data[i] !== 0) squares += (x.data[i]! - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / Math.max(variance === 'sample' ? count - 1 : count, 1) + epsilon);
  const shift = centered ? 0 : mean;
  return hostTensor(
    x.data.map((value, i) => (mask.data[i] === 0 ? 0 : (value - mean) * scale + shift)),
    x.shape,
  );
}
