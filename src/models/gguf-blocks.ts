/**
 * Element types of GGUF tensors and how their blocks become float32. Quantised types hold blocks of 32 or 256 numbers with
 * scales of their own; a row is a whole number of blocks.
 *
 * @source ggml's block layouts, `ggml-common.h`; values recorded from the Python library `gguf` (test/golden)
 */
import { decodeBFloat16, decodeFloat16, float16Values } from './float16.ts';

export interface GgufType {
  readonly name: string;
  /** Numbers per block. */
  readonly elements: number;
  /** Bytes per block. */
  readonly bytes: number;
  /**
   * Converts whole blocks. All products are exact in float64 and rounded once, which is what float32 arithmetic gives.
   *
   * @param source its blocks, [n · bytes]
   * @param target receives the numbers, [n · elements]
   */
  decode(source: Uint8Array, target: Float32Array): void;
}

/** Unpacks one block that begins at `at` into `target` from `to` on. */
type DecodeBlock = (source: Uint8Array, at: number, target: Float32Array, to: number) => void;

function blocks(name: string, elements: number, bytes: number, decodeBlock: DecodeBlock): GgufType {
  return {
    name,
    elements,
    bytes,
    decode(source, target) {
      for (let at = 0, to = 0; to < target.length; at += bytes, to += elements)
        decodeBlock(source, at, target, to);
    },
  };
}

function numbers(
  name: string,
  bytes: number,
  decode: (aligned: ArrayBuffer, target: Float32Array) => void,
): GgufType {
  return {
    name,
    elements: 1,
    bytes,
    decode: (source, target) => decode(source.slice().buffer as ArrayBuffer, target),
  };
}

/** The float16 at a place, as a number. */
const half = (source: Uint8Array, at: number): number =>
  float16Values()[source[at]! | (source[at + 1]! << 8)]!;
const signed = (byte: number): number => (byte << 24) >> 24;

/** 32 numbers of 4 bits: the low halves of 16 bytes, then the high ones. The fifth bits, where there are any, lie apart. */
function nibbles(
  source: Uint8Array,
  {
    quants,
    fifth,
    scale,
    center = 0,
    offset,
    target,
    to,
  }: {
    readonly quants: number;
    /** First byte of 32 fifth bits; undefined: none. */
    readonly fifth?: number;
    readonly scale: number;
    /** Subtracted before scaling. */
    readonly center?: number;
    /** Added after scaling; −0 adds nothing, to a −0 either. */
    readonly offset: number;
    readonly target: Float32Array;
    readonly to: number;
  },
): void {
  for (let j = 0; j < 16; j++) {
    const pair = source[quants + j]!;
    let low = pair & 15;
    let high = pair >>> 4;
    if (fifth !== undefined) {
      low |= ((source[fifth + (j >>> 3)]! >>> (j & 7)) & 1) << 4;
      high |= ((source[fifth + 2 + (j >>> 3)]! >>> (j & 7)) & 1) << 4;
    }
    target[to + j] = scale * (low - center) + offset;
    target[to + 16 + j] = scale * (high - center) + offset;
  }
}

const q4_0 = blocks('Q4_0', 32, 18, (source, at, target, to) => {
  nibbles(source, { quants: at + 2, scale: half(source, at), center: 8, offset: -0, target, to });
});

const q4_1 = blocks('Q4_1', 32, 20, (source, at, target, to) =>
  nibbles(source, { quants: at + 4, scale: half(source, at), offset: half(source, at + 2), target, to }),
);

const q5_0 = blocks('Q5_0', 32, 22, (source, at, target, to) => {
  nibbles(source, {
    quants: at + 6,
    fifth: at + 2,
    scale: half(source, at),
    center: 16,
    offset: -0,
    target,
    to,
  });
});

const q5_1 = blocks('Q5_1', 32, 24, (source, at, target, to) =>
  nibbles(source, {
    ...{ quants: at + 8, fifth: at + 4, target, to },
    ...{ scale: half(source, at), offset: half(source, at + 2) },
  }),
);

const q8_0 = blocks('Q8_0', 32, 34, (source, at, target, to) => {
  const scale = half(source, at);
  for (let j = 0; j < 32; j++) target[to + j] = scale * signed(source[at + 2 + j]!);
});

/** Six-bit scale of one of eight groups of 32 in the 12 bytes from `at` on. */
const groupScale = (source: Uint8Array, at: number, group: number): number =>
  group < 4
    ? source[at + group]! & 63
    : (source[at + group + 4]! & 15) | ((source[at + group - 4]! >>> 6) << 4);

/** Six-bit minimum of a group, in the same 12 bytes. */
const groupMinimum = (source: Uint8Array, at: number, group: number): number =>
  group < 4
    ? source[at + group + 4]! & 63
    : (source[at + group + 4]! >>> 4) | ((source[at + group]! >>> 6) << 4);

/** Eight groups of 32: a scale and a minimum each, 4 bits per number, and fifth bits by group where there are any. */
function groups(
  source: Uint8Array,
  {
    at,
    quants,
    fifth,
    target,
    to,
  }: {
    readonly at: number;
    readonly quants: number;
    readonly fifth?: number;
    readonly target: Float32Array;
    readonly to: number;
  },
): void {
  const scale = half(source, at);
  const minimum = half(source, at + 2);
  for (let group = 0; group < 8; group++) {
    const factor = scale * groupScale(source, at + 4, group);
    const lowest = minimum * groupMinimum(source, at + 4, group);
    const bytes = quants + 32 * (group >>> 1);
    const shift = 4 * (group & 1);
    for (let j = 0; j < 32; j++) {
      let number = (source[bytes + j]! >>> shift) & 15;
      if (fifth !== undefined) number |= ((source[fifth + j]! >>> group) & 1) << 4;
      target[to + 32 * group + j] = factor * number - lowest;
    }
  }
}

const q4_K = blocks('Q4_K', 256, 144, (source, at, target, to) =>
  groups(source, { at, quants: at + 16, target, to }),
);

const q5_K = blocks('Q5_K', 256, 176, (source, at, target, to) =>
  groups(source, { at, quants: at + 48, fifth: at + 16, target, to }),
);

const q6_K = blocks('Q6_K', 256, 210, (source, at, target, to) => {
  const scale = half(source, at + 208);
  for (let part = 0; part < 2; part++) {
    const low = at + 64 * part;
    const high = at + 128 + 32 * part;
    const scales = at + 192 + 8 * part;
    for (let quarter = 0; quarter < 4; quarter++) {
      const bytes = low + 32 * (quarter & 1);
      const shift = 4 * (quarter >>> 1);
      for (let j = 0; j < 32; j++) {
        const number =
          ((source[bytes + j]! >>> shift) & 15) | (((source[high + j]! >>> (2 * quarter)) & 3) << 4);
        const factor = scale * signed(source[scales + 2 * quarter + (j >>> 4)]!);
        target[to + 128 * part + 32 * quarter + j] = factor * (number - 32);
      }
    }
  }
});

/** Types that can be read, by their number in the file. */
export const GGUF_TYPES: ReadonlyMap<number, GgufType> = new Map([
  [0, numbers('F32', 4, (bytes, target) => target.set(new Float32Array(bytes)))],
  [1, numbers('F16', 2, (bytes, target) => decodeFloat16(new Uint16Array(bytes), target))],
  [2, q4_0],
  [3, q4_1],
  [6, q5_0],
  [7, q5_1],
  [8, q8_0],
  [12, q4_K],
  [13, q5_K],
  [14, q6_K],
  [30, numbers('BF16', 2, (bytes, target) => decodeBFloat16(new Uint16Array(bytes), target))],
]);

/** Names of types that exist and cannot be read, for messages. */
export const OTHER_GGUF_TYPES: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};
