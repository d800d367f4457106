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
 * Scales are tried that put the weight of largest size on an outermost integer (4 bits: −8 or 7) or, with 4 bits, some of
 * it beyond; each is then the one that its integers fit best, s = Σ w·q / Σ q², and the one with the least squared error
 * is taken.
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

/** Shares of the extreme that the outermost integer stands for: below 1 the few largest weights are cut off. */
const shares = { 4: [1, 0.95, 0.9, 0.85, 0.8, 0.75], 8: [1] } as const;

/** Integers of a block and its scale: of several first scales, the one with the least squared error. */
function roundBlock(weights: Float64Array, integers: Int32Array, bits: QuantizedBits): number {
  const low = -quantizedZero(bits);
  const high = -low - 1;
  let extreme = 0;
  for (const w of weights) if (Math.abs(w) > Math.abs(extreme)) extreme = w;
  if (extreme === 0) {
    integers.fill(0);
    return 0;
  }
  let best = { explained: -1, first: 0, scale: 0 };
  for (const share of shares[bits]) {
    for (const end of bits === 4 ? [low, high] : [high]) {
      const first = (share * extreme) / end;
      let products = 0;
      let squares = 0;
      for (const w of weights) {
        const q = Math.min(high, Math.max(low, Math.round(w / first)));
        products += w * q;
        squares += q * q;
      }
      // With the best scale, Σ (w − s·q)² = Σ w² − (Σ w·q)² / Σ q².
      const explained = products ** 2 / squares;
      if (explained > best.explained) best = { explained, first, scale: products / squares };
    }
  }
  for (const [k, w] of weights.entries())
    integers[k] = Math.min(high, Math.max(low, Math.round(w / best.first)));
  return best.scale;
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
