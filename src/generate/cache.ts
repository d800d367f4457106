/** Keys and values of the rows being decoded, in slots: [slots, K, M, E] per layer and kind, in host memory. */
import type { Arrays } from '../engine/engine.ts';
import type { CausalModel } from '../models/causal-model.ts';
import { cacheTensorNames } from './programs.ts';

/** Slots of cached keys and values. */
export interface SlotCache {
  readonly slots: number;
  /** Positions per slot, a multiple of 64. */
  readonly positions: number;
  /** The first `slots` slots of every tensor, by name, over the cache's own memory. */
  arrays(slots: number): Arrays;
  /** Copies a prompt's part of a prefill's `new.…` outputs [R, K, T, E] to the beginning of a slot. */
  fill(slot: number, prefill: Arrays, prompt: PromptEntries): void;
  /** Copies the first `length` positions of a slot into another. */
  copy(from: number, to: number, length: number): void;
  /** Stores the `new.…` outputs [B, K, T, E] of a decode step from position `lengths[b]` of each slot b on. */
  append(step: Arrays, lengths: BigInt64Array): void;
}

/** Entries of a prompt in the outputs of a prefill. */
export interface PromptEntries {
  readonly row: number;
  readonly start: number;
  readonly length: number;
  /** T of the outputs. */
  readonly columns: number;
}

/** Positions come in multiples of this, so that few decode programs serve all lengths. */
const bucket = 64;

/** A cache of `slots` rows of at most `longest` tokens: `spare` where that is one, else a new one. */
export function slotCache(
  model: CausalModel,
  slots: number,
  longest: number,
  spare: SlotCache | undefined,
): SlotCache {
  const positions = Math.ceil(longest / bucket) * bucket;
  if (spare?.slots === slots && spare.positions === positions) return spare;
  const { keyValueHeads: K, headSize: E } = model;
  const width = K * positions * E;
  const tensors = cacheTensorNames(model).map((name) => ({ name, data: new Float32Array(slots * width) }));
  return {
    slots,
    positions,
    arrays: (count) =>
      Object.fromEntries(tensors.map(({ name, data }) => [name, data.subarray(0, count * width)])),
    fill(slot, prefill, { row, start, length, columns }) {
      for (const { name, data } of tensors) {
        const source = prefill[`new.${name}`] as Float32Array;
        for (let head = 0; head < K; head++) {
          const from = ((row * K + head) * columns + start) * E;
          data.set(source.subarray(from, from + length * E), slot * width + head * positions * E);
        }
      }
    },
    copy(from, to, length) {
      for (const { data } of tensors) {
        for (let head = 0; head < K; head++) {
          const start = from * width + head * positions * E;
          data.copyWithin(to * width + head * positions * E, start, start + length * E);
        }
      }
    },
    append(step, lengths) {
      for (const { name, data } of tensors) {
        const source = step[`new.${name}`] as Float32Array;
        const size = source.length / (lengths.length * K); // T·E
        for (let row = 0; row < lengths.length * K; row++) {
          const at = (row * positions + Number(lengths[Math.floor(row / K)])) * E;
          for (let e = 0; e < size; e++) data[at + e] = source[row * size + e]!;
        }
      }
    },
  };
}
