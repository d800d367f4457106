/**
 * Counter-based random numbers. A draw is a pure function of (seed, stream, counters): nothing advances, so a resumed
 * run, another batch order or another thread meets the same numbers.
 *
 * Every draw encrypts its counters with Philox4x32-10 under the 64-bit key of its stream.
 *
 * @source Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3", section 3.3 (Philox).
 */
import { ConfigError } from './errors.ts';

/** A stream of random numbers without a position. Counters are integers in [0, 2^32); as many of them as wanted. */
export interface Rng {
  /**
   * The independent stream of that name below this one. Children differ from each other, from their parent, and
   * `split('1')` from `split(1)`. A number must be an integer in [0, 2^53); a string has at most 65 535 UTF-16 units.
   *
   * Its key is the first 64 bits of a CBC-MAC: the name's 16-bit units (or the number's two 32-bit halves), with their
   * kind and count in the first block so that no encoding is the start of another, chained through Philox under this
   * stream's key. Two of n streams share a key with a probability of about n² / 2^65.
   */
  split(name: string | number): Rng;
  /** Uniform in [0, 1), a multiple of 2^-53 (53 random bits). `uniform(1)`, `uniform(1, 0)` and `normal(1)` are unrelated. */
  uniform(...counters: readonly number[]): number;
  /** Standard normal: √(-2 ln(1 - u)) cos(2πv) (Box and Muller, 1958) of two 53-bit uniforms; |z| < 8.6. */
  normal(...counters: readonly number[]): number;
  /** Integer in [0, bound), each exactly equally likely (by rejection). Throws `ConfigError` unless 1 ≤ bound ≤ 2^32. */
  integer(bound: number, ...counters: readonly number[]): number;
  /** The numbers 0 … n - 1 in an order drawn from all n! (Fisher and Yates). Throws `ConfigError` unless 0 ≤ n < 2^31. */
  permutation(n: number, ...counters: readonly number[]): Int32Array;
  /**
   * Fills `out` with normal numbers of mean 0 and deviation `std`, four per Philox block (32 bits per uniform, so
   * |z| < 6.8): for weights. Element i depends on i and the counters, not on the length of `out`.
   */
  fillNormal(out: Float32Array | Float64Array, std: number, ...counters: readonly number[]): void;
}

/**
 * The root stream of a seed, an integer in [0, 2^53). Its key is the seed itself.
 *
 * @throws ConfigError when the seed is not such an integer.
 * @example
 * const rng = createRng(7).split('rollout');
 * rng.uniform(step, sample, position); // the same number, whatever was drawn before
 */
export function createRng(seed: number): Rng {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ConfigError({
      where: 'createRng(seed)',
      expected: 'an integer in [0, 2^53)',
      received: String(seed),
      fix: 'Pass a whole number such as 0 or 42',
    });
  }
  return new PhiloxRng(seed >>> 0, Math.floor(seed / 2 ** 32));
}

/**
 * Philox4x32-10: the bijection of 128-bit blocks that `key` selects.
 *
 * @param counter four 32-bit words.
 * @param key two 32-bit words.
 * @returns four 32-bit words.
 * @source Salmon et al. (2011), section 3.3; multipliers and Weyl constants of its reference implementation Random123.
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Uint32Array {
  encrypt(key[0], key[1], ...counter);
  return block.slice();
}

/** Result of the last `encrypt`: read at once by the function that called it, never kept. */
const block = new Uint32Array(4);

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** Philox into `block`. All arguments are read modulo 2^32. */
function encrypt(k0: number, k1: number, c0: number, c1: number, c2: number, c3: number): void {
  for (let round = 0; round < 10; round++) {
    const high0 = highProduct(MULTIPLIER_0 >>> 16, MULTIPLIER_0 & 0xffff, c0);
    const high1 = highProduct(MULTIPLIER_1 >>> 16, MULTIPLIER_1 & 0xffff, c2);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  block[0] = c0;
  block[1] = c1;
  block[2] = c2;
  block[3] = c3;
}

/**
 * Upper 32 bits of (mHigh 2^16 + mLow) × word, schoolbook on 16-bit halves; no sum exceeds 32 bits. A third faster
 * here than one float64 product, and far faster than BigInt.
 */
function highProduct(mHigh: number, mLow: number, word: number): number {
  const wHigh = word >>> 16;
  const wLow = word & 0xffff;
  const middle = (Math.imul(wHigh, mLow) + (Math.imul(wLow, mLow) >>> 16)) | 0;
  const cross = (Math.imul(wLow, mHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(wHigh, mHigh) + (middle >>> 16) + (cross >>> 16)) | 0;
}

/** What a block is for; it is part of the block, so that different draws at the same counters are unrelated. */
const NAME = 1;
const INDEX = 2;
const UNIFORM = 3;
const NORMAL = 4;
const INTEGER = 5;
const PERMUTATION = 6;
const FILL_NORMAL = 7;

const UINT32 = 2 ** 32;
const TWO_PI = 2 * Math.PI;

class PhiloxRng implements Rng {
  readonly #k0: number;
  readonly #k1: number;

  constructor(k0: number, k1: number) {
    this.#k0 = k0;
    this.#k1 = k1;
  }

  split(name: string | number): Rng {
    if (typeof name === 'number') {
      if (!Number.isSafeInteger(name) || name < 0) {
        throw badArgument('split(name)', 'a string or an integer in [0, 2^53)', name);
      }
      this.#absorb(INDEX, 0, [name >>> 0, Math.floor(name / UINT32)]);
    } else {
      if (name.length > 0xffff) {
        throw badArgument('split(name)', 'at most 65535 UTF-16 units', `${name.length} units`);
      }
      const units = Array.from({ length: name.length }, (_, index) => name.charCodeAt(index));
      this.#absorb(NAME, 0, units);
    }
    return new PhiloxRng(block[0]!, block[1]!);
  }

  uniform(...counters: readonly number[]): number {
    this.#absorb(UNIFORM, 0, counters);
    return uniform53(block[0]!, block[1]!);
  }

  normal(...counters: readonly number[]): number {
    this.#absorb(NORMAL, 0, counters);
    const u = uniform53(block[0]!, block[1]!);
    const v = uniform53(block[2]!, block[3]!);
    return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(TWO_PI * v);
  }

  integer(bound: number, ...counters: readonly number[]): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > UINT32) {
      throw badArgument('integer(bound)', 'an integer in [1, 2^32]', bound);
    }
    // The largest multiple of bound: below it every remainder is met equally often.
    const limit = UINT32 - (UINT32 % bound);
    for (let attempt = 0; ; attempt++) {
      this.#absorb(INTEGER, attempt, counters);
      for (let index = 0; index < 4; index++) if (block[index]! < limit) return block[index]! % bound;
    }
  }

  permutation(n: number, ...counters: readonly number[]): Int32Array {
    if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
      throw badArgument('permutation(n)', 'an integer in [0, 2^31)', n);
    }
    this.#absorb(PERMUTATION, 0, counters);
    const k0 = block[0]!;
    const k1 = block[1]!;
    const order = Int32Array.from({ length: n }, (_, index) => index);
    let counter = 0;
    let used = 4;
    for (let last = n - 1; last > 0; last--) {
      const limit = UINT32 - (UINT32 % (last + 1));
      let word: number;
      do {
        if (used === 4) {
          // Words of this draw's own key in counter mode; 2^34 of them suffice for any n allowed.
          encrypt(k0, k1, counter++, 0, 0, 0);
          used = 0;
        }
        word = block[used++]!;
      } while (word >= limit);
      const other = word % (last + 1);
      const kept = order[last]!;
      order[last] = order[other]!;
      order[other] = kept;
    }
    return order;
  }

  fillNormal(out: Float32Array | Float64Array, std: number, ...counters: readonly number[]): void {
    this.#absorb(FILL_NORMAL, 0, counters);
    const k0 = block[0]!;
    const k1 = block[1]!;
    for (let start = 0; start < out.length; start += 4) {
      encrypt(k0, k1, start / 4, 0, 0, 0);
      for (let half = 0; half < 4; half += 2) {
        // The half keeps both uniforms inside (0, 1): the logarithm is finite. Writes past the end are ignored.
        const radius = std * Math.sqrt(-2 * Math.log((block[half]! + 0.5) / UINT32));
        const angle = TWO_PI * ((block[half + 1]! + 0.5) / UINT32);
        out[start + half] = radius * Math.cos(angle);
        out[start + half + 1] = radius * Math.sin(angle);
      }
    }
  }

  /**
   * Leaves the CBC-MAC of `words` in `block`: one encryption for up to three words. The first block carries kind,
   * attempt and count, which makes the encoding free of prefixes (what a CBC-MAC needs to be a random function).
   */
  #absorb(kind: number, attempt: number, words: readonly number[]): void {
    const count = words.length;
    const header = (kind << 24) | ((attempt & 0xff) << 16) | count;
    for (let index = 0; index < count; index++) {
      const word = words[index]!;
      if (word >>> 0 !== word) {
        throw badArgument(`counter ${index}`, 'an integer in [0, 2^32)', word);
      }
    }
    encrypt(this.#k0, this.#k1, words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, header);
    for (let index = 3; index < count; index += 4) {
      encrypt(
        this.#k0,
        this.#k1,
        block[0]! ^ words[index]!,
        block[1]! ^ (words[index + 1] ?? 0),
        block[2]! ^ (words[index + 2] ?? 0),
        block[3]! ^ (words[index + 3] ?? 0),
      );
    }
  }
}

/** Upper 27 and 26 bits of two words as a multiple of 2^-53. */
function uniform53(high: number, low: number): number {
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53;
}

function badArgument(where: string, expected: string, received: unknown): ConfigError {
  return new ConfigError({
    where: `rng.${where}`,
    expected,
    received: String(received),
    fix: 'Pass whole numbers that are not negative, such as a step, a sample and a position',
  });
}
