/** 16-bit floating-point formats, in and out of float32. */

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** float32 value of IEEE half-precision bits (1 sign, 5 exponent, 10 fraction), exactly. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Half-precision bits nearest to a number, ties to even; beyond ±65504 infinity. */
export function floatToHalf(number: number): number {
  if (Number.isNaN(number)) return 0x7e00;
  const sign = number < 0 || Object.is(number, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(number);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below the smallest normal number the spacing is fixed at 2^-24; above it is 2^(exponent - 10).
  const exponent = magnitude < 2 ** -14 ? -14 : exponentOf(magnitude);
  const units = roundToEven(magnitude / 2 ** (exponent - 10));
  // A carry out of the fraction runs into the exponent by itself.
  return sign | (magnitude < 2 ** -14 ? units : ((exponent + 14) << 10) + units);
}

/** Bits of bfloat16 nearest to a float32, ties to even. */
export function floatToBfloat(number: number): number {
  scratchFloat[0] = number;
  const bits = scratchBits[0]!;
  if (Number.isNaN(number)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function exponentOf(magnitude: number): number {
  scratchFloat[0] = magnitude;
  const exponent = ((scratchBits[0]! >>> 23) & 0xff) - 127;
  // Rounding to float32 may have reached the next power of two; that only coarsens an exact tie, so step back.
  return 2 ** exponent > magnitude ? exponent - 1 : exponent;
}

function roundToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

let halfTable: Float32Array | undefined;

/** Decodes half-precision values into `out`. */
export function decodeHalf(source: Uint16Array, out: Float32Array): void {
  halfTable ??= Float32Array.from({ length: 65536 }, (_, bits) => halfToFloat(bits));
  for (let i = 0; i < source.length; i++) out[i] = halfTable[source[i]!]!;
}

/** Decodes bfloat16 values into `out`: the upper half of a float32. */
export function decodeBfloat(source: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}
