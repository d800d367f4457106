/** Angles of rotary position embeddings, with the scaling kinds of Hugging Face's Llama family. */
import { ConfigError } from '../core/errors.ts';
import { constant } from '../graph/ops/common.ts';
import { rotary } from '../graph/ops/neural.ts';
import { concat, sliceAxis } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';

/** How positions beyond the trained length are squeezed into it. Names and defaults as in `rope_scaling` of config.json. */
export type RopeScaling =
  | { readonly kind: 'default' }
  | { readonly kind: 'linear'; readonly factor: number }
  | { readonly kind: 'dynamic'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly originalMaxPositions: number;
      /** Multiplies cosines and sines; derived from the factor when left out. */
      readonly attentionFactor?: number;
      readonly truncate: boolean;
    };

export interface RopeConfig {
  /** Base of the geometric progression of wave lengths; 10000 in the paper. */
  readonly theta: number;
  /** Elements of a head that are rotated (even). */
  readonly headSize: number;
  /** Longest position the model was configured for. */
  readonly maxPositions: number;
  readonly scaling: RopeScaling;
}

/**
 * Angular frequencies per pair and the factor on cosines and sines.
 *
 * @param length positions in use; only `dynamic` scaling depends on it
 * @returns frequencies in radians per position, float64 [E/2]
 * @source Su et al. 2021 (RoFormer); linear: Chen et al. 2023; dynamic: NTK-aware scaling as in transformers
 *   `modeling_rope_utils.py`; llama3: Llama 3.1; yarn: Peng et al. 2023, section 3
 */
export function ropeFrequencies(
  config: RopeConfig,
  length: number,
): { frequencies: Float64Array; scale: number } {
  const { theta, headSize, maxPositions, scaling } = config;
  const half = headSize / 2;
  const plain = (base: number): Float64Array =>
    Float64Array.from({ length: half }, (_, pair) => base ** ((-2 * pair) / headSize));
  switch (scaling.kind) {
    case 'default':
      return { frequencies: plain(theta), scale: 1 };
    case 'linear':
      return { frequencies: plain(theta).map((f) => f / scaling.factor), scale: 1 };
    case 'dynamic': {
      const used = Math.max(length, maxPositions);
      const stretch = (scaling.factor * used) / maxPositions - (scaling.factor - 1);
      return { frequencies: plain(theta * stretch ** (headSize / (headSize - 2))), scale: 1 };
    }
    case 'llama3': {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling;
      return {
        scale: 1,
        frequencies: plain(theta).map((f) => {
          const turns = (originalMaxPositions * f) / (2 * Math.PI); // over the original context
          if (turns > high) return f;
          if (turns < low) return f / factor;
          const smooth = (turns - low) / (high - low);
          return ((1 - smooth) * f) / factor + smooth * f;
        }),
      };
    }
    case 'yarn': {
      const { factor, betaFast, betaSlow, originalMaxPositions } = scaling;
      const pairOf = (turns: number): number =>
        (headSize * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const first = pairOf(betaFast);
      const last = pairOf(betaSlow);
      const low = Math.max(scaling.truncate ? Math.floor(first) : first, 0);
      const high = Math.min(scaling.truncate ? Math.ceil(last) : last, headSize - 1);
      const width = high === low ? 0.001 : high - low;
      return {
        scale: scaling.attentionFactor ?? (factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1),
        frequencies: plain(theta).map((f, pair) => {
          const interpolated = Math.min(Math.max((pair - low) / width, 0), 1);
          return (f / factor) * interpolated + f * (1 - interpolated);
        }),
      };
    }
  }
}

/** By position, each [length, R/2] where R elements of a head are rotated. */
export interface RopeTables {
  readonly cosines: Tensor;
  readonly sines: Tensor;
}

/**
 * Rotates the first R elements of each head by the angle of its position and leaves the others as they are.
 *
 * @param x [B, H, T, E] with E ≥ R
 * @param positions int64 [B, T]
 */
export function rotateHeads(x: Tensor, positions: Tensor, { cosines, sines }: RopeTables): Tensor {
  const E = x.shape[3]!;
  const R = 2 * cosines.shape[1]!;
  if (R === E) return rotary(x, positions, cosines, sines);
  const rotated = rotary(sliceAxis(x, 3, 0, R), positions, cosines, sines);
  return concat([rotated, sliceAxis(x, 3, R, E)], 3);
}

/** Cosine and sine tables by position, as constants of a program. */
export function ropeTables(config: RopeConfig, length: number): RopeTables {
  if (config.headSize % 2 !== 0) {
    throw new ConfigError({
      where: 'rope',
      expected: 'an even number of rotated elements per head',
      received: String(config.headSize),
    });
  }
  const { frequencies, scale } = ropeFrequencies(config, length);
  const half = frequencies.length;
  const cosines = new Float32Array(length * half);
  const sines = new Float32Array(length * half);
  for (let position = 0; position < length; position++) {
    for (let pair = 0; pair < half; pair++) {
      // The reference forms the angle in float32; beyond some thousand positions the difference would show.
      const angle = Math.fround(position * Math.fround(frequencies[pair]!));
      cosines[position * half + pair] = Math.cos(angle) * scale;
      sines[position * half + pair] = Math.sin(angle) * scale;
    }
  }
  const table = (data: Float32Array): Tensor => constant({ dtype: 'float32', shape: [length, half], data });
  return { cosines: table(cosines), sines: table(sines) };
}
