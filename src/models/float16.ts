/**
 * The two 16-bit float formats of checkpoints. heed computes in float32; these are for storage only.
 *
 * bfloat16 is the upper half of a float32: 8 exponent bits, 7 fraction bits.
 * float16 (IEEE 754 binary16) has 5 exponent bits, 10 fraction bits, largest number 65504, smallest 2^-24.
 */
import { ShapeError } from '../core/errors.ts';

/**
 * bfloat16 bit patterns to float32: exact, also for subnormals, infinities and NaN payloads.
 *
 * @param source bit patterns, [n]
 * @param target receives the numbers, [n]
 * @throws ShapeError when the lengths differ.
 */
export function decodeBFloat16(source: Uint16Array, target: Float32Array): void {
  checkLengths('decodeBFloat16', source, target);
  const bits = bitsOf(target);
  for (let index = 0; index < source.length; index++) bits[index] = source[index]! << 16;
}

/**
 * float16 bit patterns to float32: exact, also for subnormals, infinities and NaN payloads.
 *
 * @param source bit patterns, [n]
 * @param target receives the numbers, [n]
 * @throws ShapeError when the lengths differ.
 */
export function decodeFloat16(source: Uint16Array, target: Float32Array): void {
  checkLengths('decodeFloat16', source, target);
  const bits = bitsOf(target);
  float16Table ??= buildFloat16Table();
  const table = float16Table;
  for (let index = 0; index < source.length; index++) bits[index] = table[source[index]!]!;
}

/**
 * float32 to the nearest bfloat16, ties to the even one; NaN stays NaN (quiet), too large becomes infinity.
 *
 * @param source numbers, [n]
 * @param target receives bit patterns, [n]
 * @throws ShapeError when the lengths differ.
 * @example encodeBFloat16(Float32Array.of(1 + 2 ** -8), bits); // a tie: bits[0] is 0x3f80, which is 1
 */
export function encodeBFloat16(source: Float32Array, target: Uint16Array): void {
  checkLengths('encodeBFloat16', source, target);
  const bits = bitsOf(source);
  for (let index = 0; index < source.length; index++) {
    const word = bits[index]!;
    // Adding half of the last kept bit (less one unit when that bit is even) carries exactly when rounding goes up.
    target[index] =
      (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/**
 * float32 to the nearest float16, ties to the even one; NaN stays NaN (quiet), from 65520 on it becomes infinity.
 *
 * @param source numbers, [n]
 * @param target receives bit patterns, [n]
 * @throws ShapeError when the lengths differ.
 */
export function encodeFloat16(source: Float32Array, target: Uint16Array): void {
  checkLengths('encodeFloat16', source, target);
  const bits = bitsOf(source);
  for (let index = 0; index < source.length; index++) target[index] = float16Bits(bits[index]!);
}

function float16Bits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520, half a step above the largest number
  const exponent = magnitude >>> 23;
  // Exponent bias 127 there, 15 here: from 113 = 2^-14 on the result is normal and loses 13 bits.
  if (exponent >= 113) return sign | roundedShift(magnitude - (112 << 23), 13);
  // Below 2^-25, half of the smallest number, everything is 0.
  if (exponent < 102) return sign;
  return sign | roundedShift((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

/** value / 2^shift rounded to the nearest integer, ties to even. A carry into the exponent is the right number. */
function roundedShift(value: number, shift: number): number {
  const half = 1 << (shift - 1);
  return (value + half - 1 + ((value >>> shift) & 1)) >>> shift;
}

let float16Table: Uint32Array | undefined;

let float16Numbers: Float32Array | undefined;

/** The number of each of the 65 536 float16 bit patterns. */
export function float16Values(): Float32Array {
  float16Table ??= buildFloat16Table();
  float16Numbers ??= new Float32Array(float16Table.buffer);
  return float16Numbers;
}

/** float32 bit pattern of each of the 65 536 float16 patterns (256 KiB, made once). */
function buildFloat16Table(): Uint32Array {
  const table = new Uint32Array(0x10000);
  const scratch = new Float32Array(1);
  const scratchBits = bitsOf(scratch);
  for (let pattern = 0; pattern < 0x10000; pattern++) {
    const sign = (pattern & 0x8000) << 16;
    const exponent = (pattern >>> 10) & 0x1f;
    const fraction = pattern & 0x3ff;
    if (exponent === 31) {
      table[pattern] = sign | 0x7f800000 | (fraction << 13);
    } else if (exponent > 0) {
      table[pattern] = sign | ((exponent + 112) << 23) | (fraction << 13);
    } else {
      scratch[0] = fraction * 2 ** -24;
      table[pattern] = sign | scratchBits[0]!;
    }
  }
  return table;
}

function bitsOf(numbers: Float32Array): Uint32Array {
  return new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
}

function checkLengths(where: string, source: ArrayLike<number>, target: ArrayLike<number>): void {
  if (source.length !== target.length) {
    throw new ShapeError({
      where,
      expected: `a target of ${source.length} elements`,
      received: `${target.length}`,
      fix: 'Pass arrays of equal length',
    });
  }
}
