import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../core/errors.ts';
import { decodeBFloat16, decodeFloat16, encodeBFloat16, encodeFloat16 } from './float16.ts';

const allPatterns = Uint16Array.from({ length: 0x10000 }, (_, index) => index);

interface Format {
  readonly name: string;
  readonly decode: (source: Uint16Array, target: Float32Array) => void;
  readonly encode: (source: Float32Array, target: Uint16Array) => void;
  readonly exponentBits: number;
  readonly fractionBits: number;
}

const formats: Format[] = [
  { name: 'bfloat16', decode: decodeBFloat16, encode: encodeBFloat16, exponentBits: 8, fractionBits: 7 },
  { name: 'float16', decode: decodeFloat16, encode: encodeFloat16, exponentBits: 5, fractionBits: 10 },
];

/** The number a pattern stands for, from the definition of the format. */
function numberOf(pattern: number, { exponentBits, fractionBits }: Format): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >>> fractionBits) & ((1 << exponentBits) - 1);
  const fraction = (pattern & ((1 << fractionBits) - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1)
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

function decodeAll(format: Format): Float32Array {
  const numbers = new Float32Array(allPatterns.length);
  format.decode(allPatterns, numbers);
  return numbers;
}

describe.each(formats)('$name', (format) => {
  const numbers = decodeAll(format);
  const { exponentBits, fractionBits } = format;
  const infinity = ((1 << exponentBits) - 1) << fractionBits;

  const encodeOne = (x: number): number => {
    const bits = new Uint16Array(1);
    format.encode(Float32Array.of(x), bits);
    return bits[0]!;
  };

  /** Nearest pattern by search over the ordered positive patterns; the gap after the last counts as one more step. */
  const nearest = (x: number): number => {
    const magnitude = Math.abs(x);
    let low = 0;
    let high = infinity;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (numberOf(middle, format) <= magnitude) low = middle;
      else high = middle;
    }
    const below = numberOf(low, format);
    const above = high === infinity ? 2 * below - numberOf(low - 1, format) : numberOf(high, format);
    const up =
      magnitude - below > above - magnitude || (magnitude - below === above - magnitude && low % 2 === 1);
    return (up ? high : low) | (x < 0 || Object.is(x, -0) ? 0x8000 : 0);
  };

  it('decodes each of the 65 536 patterns to the number it stands for', () => {
    const wrong = [...allPatterns].filter(
      (pattern) => !Object.is(numbers[pattern], numberOf(pattern, format)),
    );
    expect(wrong).toEqual([]);
  });

  it('encodes each of its own numbers to the same pattern', () => {
    const back = new Uint16Array(allPatterns.length);
    format.encode(numbers, back);
    const wrong = [...allPatterns].filter((p) =>
      // A signalling NaN comes back quiet; it must not turn into infinity.
      Number.isNaN(numbers[p]!) ? !Number.isNaN(numberOf(back[p]!, format)) : back[p] !== p,
    );
    expect(wrong).toEqual([]);
  });

  it('rounds any float32 to the nearest, ties to even', () => {
    const bits = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(bits, (word) => {
        const x = new Float32Array(Uint32Array.of(word).buffer)[0]!;
        if (Number.isNaN(x)) expect(Number.isNaN(numberOf(encodeOne(x), format))).toBe(true);
        else if (!Number.isFinite(x)) expect(encodeOne(x)).toBe(x < 0 ? infinity | 0x8000 : infinity);
        else expect(encodeOne(x)).toBe(nearest(x));
      }),
      { numRuns: 2000 },
    );
  });

  it('rounds well around every boundary between two neighbours', () => {
    const problems: number[] = [];
    for (let pattern = 0; pattern < infinity - 1; pattern += format.name === 'float16' ? 1 : 7) {
      const middle = Math.fround((numberOf(pattern, format) + numberOf(pattern + 1, format)) / 2);
      const word = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
      for (const near of [word - 1, word, word + 1]) {
        const x = new Float32Array(Uint32Array.of(near).buffer)[0]!;
        if (Number.isFinite(x) && x >= 0 && encodeOne(x) !== nearest(x)) problems.push(x);
      }
    }
    expect(problems).toEqual([]);
  });

  it('refuses arrays of different length', () => {
    expect(() => format.encode(new Float32Array(2), new Uint16Array(1))).toThrow(ShapeError);
    expect(() => format.decode(new Uint16Array(1), new Float32Array(2))).toThrow(ShapeError);
  });
});

describe('worked examples', () => {
  const float16 = (x: number): number => {
    const bits = new Uint16Array(1);
    encodeFloat16(Float32Array.of(x), bits);
    return bits[0]!;
  };

  it('knows the edges of float16', () => {
    expect(float16(1)).toBe(0x3c00);
    expect(float16(-2)).toBe(0xc000);
    expect(float16(65504)).toBe(0x7bff); // largest
    expect(float16(65519)).toBe(0x7bff);
    expect(float16(65520)).toBe(0x7c00); // a tie between 65504 (odd) and the next step: infinity
    expect(float16(2 ** -24)).toBe(1); // smallest
    expect(float16(2 ** -25)).toBe(0); // a tie between 0 (even) and 2^-24
    expect(float16(2 ** -25 * 1.001)).toBe(1);
    expect(float16(2 ** -14 - 2 ** -25)).toBe(0x400); // a tie that carries from the subnormals into the normals
    expect(float16(1 + 2 ** -11)).toBe(0x3c00);
    expect(float16(1 + 3 * 2 ** -11)).toBe(0x3c02);
  });

  it('knows the ties of bfloat16', () => {
    const bits = new Uint16Array(4);
    // The step after 1 is 2^-7; a half step above an even pattern stays, above an odd one goes up.
    encodeBFloat16(Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4028235e38, 1e-45), bits);
    expect([...bits]).toEqual([0x3f80, 0x3f82, 0x7f80, 0]);
  });
});
