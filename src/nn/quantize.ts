/** Matrices in 4 or 8 bits per weight, rounded to nearest in blocks of a row. */
import { ConfigError } from '../core/errors.ts';
import { blocksOf, type QuantizedBits, type QuantizedLayout, quantizedZero } from '../graph/ops/quantized.ts';

export interface QuantizedMatrix {
  /** [N, blocks, bytes of a block] */
  readonly packed: Uint8Array;
  /** [N, blocks] */
  readonly scales: Float32Array;
  readonly layout: QuantizedLayout;
}

/**
 * Rows of N·K weights as integers q with a scale s per block: w ≈ s·(q − 2^(bits − 1)).
 *
 * The scale starts at the weight of largest size over the lowest integer (4 bits: −8; so all sixteen are used) or, with 8
 * bits, over 127; then it is that which the integers fit best, s = Σ w·q / Σ q². The error of a weight is at most about half
 * a scale.
 *
 * @param at number of row n and column k
 * @throws ConfigError when the block size is not a power of two from 16 on
 * @source Dettmers et al. 2023, "QLoRA", section 3, for block-wise scales; the integers are even steps (the format of
 *   ONNX Runtime's MatMulNBits), not the quantiles of NF4
 */
export function quantizeMatrix(
  [rows, columns]: readonly [number, number],
  at: (row: number, column: number) => number,
  { bits, blockSize }: { readonly bits: QuantizedBits; readonly blockSize: number },
): QuantizedMatrix {
  if (!(blockSize >= 16 && Number.isInteger(Math.log2(blockSize)))) {
    throw new ConfigError({
      where: 'quantizeMatrix(blockSize)',
      expected: '16, 32, 64, 128 or 256',
      received: String(blockSize),
      fix: 'Use 32, or 16 for less error and more memory',
    });
  }
  const layout = { bits, blockSize, columns };
  const { blocks, bytes } = blocksOf(layout);
  const packed = new Uint8Array(new SharedArrayBuffer(rows * blocks * bytes));
  const scales = new Float32Array(new SharedArrayBuffer(4 * rows * blocks));
  const weights = new Float64Array(blockSize);
  const integers = new Int32Array(blockSize);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const start = block * blockSize;
      const length = Math.min(blockSize, columns - start);
      for (let k = 0; k < length; k++) weights[k] = at(row, start + k);
      const place = row * blocks + block;
      scales[place] = roundBlock(weights.subarray(0, length), integers, bits);
      integers.fill(0, length);
      pack(integers, bits, packed.subarray(place * bytes, (place + 1) * bytes));
    }
  }
  return { packed, scales, layout };
}

/** Integers of a block and its scale. */
function roundBlock(weights: Float64Array, integers: Int32Array, bits: QuantizedBits): number {
  const low = -quantizedZero(bits);
  const high = -low - 1;
  let extreme = 0;
  for (const w of weights) if (Math.abs(w) > Math.abs(extreme)) extreme = w;
  const first = bits === 4 ? extreme / low : Math.abs(extreme) / high;
  if (first === 0) {
    integers.fill(0);
    return 0;
  }
  let products = 0;
  let squares = 0;
  for (const [k, w] of weights.entries()) {
    const q = Math.min(high, Math.max(low, Math.round(w / first)));
    integers[k] = q;
    products += w * q;
    squares += q * q;
  }
  return products / squares;
}

function pack(integers: Int32Array, bits: QuantizedBits, bytes: Uint8Array): void {
  const zero = quantizedZero(bits);
  for (let k = 0; k < integers.length; k++) {
    const stored = integers[k]! + zero;
    if (bits === 8) bytes[k] = stored;
    else bytes[k >> 1] = k % 2 === 0 ? stored : bytes[k >> 1]! | (stored << 4);
  }
}

/** Writes row-major numbers [N, K] of a matrix into `out`. */
export function dequantizeMatrix({ packed, scales, layout }: QuantizedMatrix, out: Float32Array): void {
  const { bits, blockSize, columns } = layout;
  const { blocks, bytes } = blocksOf(layout);
  const zero = quantizedZero(bits);
  for (let index = 0; index < out.length; index++) {
    const [row, k] = [Math.floor(index / columns), index % columns];
    const block = row * blocks + Math.floor(k / blockSize);
    const inside = k % blockSize;
    const byte = packed[block * bytes + ((inside * bits) >> 3)]!;
    const stored = bits === 8 ? byte : inside % 2 === 0 ? byte & 15 : byte >> 4;
    out[index] = (stored - zero) * scales[block]!;
  }
}
