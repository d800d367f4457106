import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from './errors.ts';
import { createRng, philox4x32 } from './rng.ts';

const counter = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** Pearson's statistic of observed counts against equal expected ones. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

describe('philox4x32', () => {
  // Known answers published with Random123 (kat_vectors, philox 4x32, 10 rounds).
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)('gives the known answer for counter %j and key %j', (block, key, answer) => {
    expect([...philox4x32(block, key)]).toEqual([...answer]);
  });
});

describe('streams', () => {
  it('draws depend on seed, stream and counters only', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.string(),
        fc.array(counter, { maxLength: 9 }),
        (seed, name, counters) => {
          const first = createRng(seed).split(name);
          const again = createRng(seed).split(name);
          again.permutation(5, 1);
          again.normal(3);
          expect(first.uniform(...counters)).toBe(again.uniform(...counters));
          expect(first.normal(...counters)).toBe(again.normal(...counters));
          expect(first.integer(1000, ...counters)).toBe(again.integer(1000, ...counters));
        },
      ),
    );
  });

  it('the root key is the seed and one draw is one block', () => {
    // Kind 3 in the top byte, two counters: header 0x03000002.
    const [a, b] = philox4x32([5, 6, 0, 0x03000002], [8, 2]);
    const expected = ((a! >>> 5) * 2 ** 26 + (b! >>> 6)) / 2 ** 53;
    expect(createRng(8 + 2 * 2 ** 32).uniform(5, 6)).toBe(expected);
  });

  it('separates names, numbers, nesting, kinds and numbers of counters', () => {
    const rng = createRng(1);
    const draws = [
      rng.uniform(),
      rng.uniform(0),
      rng.uniform(0, 0),
      rng.uniform(0, 0, 0),
      rng.uniform(0, 0, 0, 0),
      rng.uniform(0, 0, 0, 0, 0),
      rng.split('').uniform(0),
      rng.split('\0').uniform(0),
      rng.split('1').uniform(0),
      rng.split('\u0001\0').uniform(0),
      rng.split(1).uniform(0),
      rng.split(2 ** 32 + 1).uniform(0),
      rng.split('ab').uniform(0),
      rng.split('ba').uniform(0),
      rng.split('a').split('b').uniform(0),
      rng.split('rollout').uniform(0),
      rng.split('rollout ').uniform(0),
      createRng(2).uniform(0),
      createRng(2 ** 32).uniform(0),
    ];
    expect(new Set(draws).size).toBe(draws.length);
  });

  it('every counter of a long list matters', () => {
    const counters = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const draws = counters.map((_, index) => createRng(4).uniform(...counters.with(index, 77)));
    expect(new Set([...draws, createRng(4).uniform(...counters)]).size).toBe(10);
  });

  it('neighbouring streams and counters are uncorrelated', () => {
    const n = 20_000;
    let byStream = 0;
    let byCounter = 0;
    let byKind = 0;
    for (let i = 0; i < n; i++) {
      const here = createRng(i).uniform(0) - 0.5;
      byStream += here * (createRng(i + 1).uniform(0) - 0.5);
      byCounter += (createRng(3).uniform(i) - 0.5) * (createRng(3).uniform(i + 1) - 0.5);
      byKind += (createRng(3).uniform(i) - 0.5) * createRng(3).normal(i);
    }
    // Products of centred uniforms have deviation 1/12; the mean of n of them 5.9e-4. Four deviations: 2.4e-3.
    expect(Math.abs(byStream / n)).toBeLessThan(2.4e-3);
    expect(Math.abs(byCounter / n)).toBeLessThan(2.4e-3);
    expect(Math.abs(byKind / n)).toBeLessThan(8.2e-3);
  });

  it('refuses what is not a whole number', () => {
    expect(() => createRng(-1)).toThrow(ConfigError);
    expect(() => createRng(0.5)).toThrow('createRng(seed): expected an integer in [0, 2^53), received 0.5.');
    const rng = createRng(0);
    expect(() => rng.uniform(1, -1)).toThrow('rng.counter 1: expected an integer in [0, 2^32), received -1.');
    expect(() => rng.uniform(Number.NaN)).toThrow(ConfigError);
    expect(() => rng.uniform(2 ** 32)).toThrow(ConfigError);
    expect(() => rng.integer(0, 1)).toThrow(ConfigError);
    expect(() => rng.permutation(-1)).toThrow(ConfigError);
    expect(() => rng.split(1.5)).toThrow(ConfigError);
  });
});

describe('uniform', () => {
  it('is uniform on [0, 1): chi-square over 100 cells, mean, variance', () => {
    const rng = createRng(11).split('uniform');
    const n = 100_000;
    const counts = new Array<number>(100).fill(0);
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const u = rng.uniform(i);
      if (u < 0 || u >= 1) expect.unreachable();
      counts[Math.floor(u * 100)]!++;
      sum += u;
      squares += (u - 0.5) ** 2;
    }
    // 99 degrees of freedom: the 0.1 % point is 148.2. Mean: deviation 9.1e-4. Variance: deviation 2.4e-4.
    expect(chiSquare(counts)).toBeLessThan(148.2);
    expect(Math.abs(sum / n - 0.5)).toBeLessThan(4 * 9.1e-4);
    expect(Math.abs(squares / n - 1 / 12)).toBeLessThan(4 * 2.4e-4);
  });

  it('has 53 bits, each set half of the time', () => {
    const rng = createRng(12);
    const n = 4000;
    const ones = new Array<number>(53).fill(0);
    for (let i = 0; i < n; i++) {
      let bits = BigInt(rng.uniform(i) * 2 ** 53);
      for (let bit = 0; bit < 53; bit++, bits >>= 1n) ones[bit]! += Number(bits & 1n);
    }
    // Deviation of a count is √n / 2 = 31.6; the largest of 53 stays within 4 of them.
    for (const count of ones) expect(Math.abs(count - n / 2)).toBeLessThan(4 * 31.7);
  });
});

describe('normal and fillNormal', () => {
  const n = 200_000;
  const rng = createRng(5);
  const filled = new Float64Array(n);
  rng.fillNormal(filled, 1, 9);

  it.each([
    ['normal', (i: number) => rng.normal(i)],
    ['fillNormal', (i: number) => filled[i]!],
  ] as const)('%s has moments 0, 1, 0, 3 and the shares of the normal law', (_, draw) => {
    let [m1, m2, m3, m4, beyond1, beyond2] = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < n; i++) {
      const z = draw(i);
      m1 += z / n;
      m2 += z ** 2 / n;
      m3 += z ** 3 / n;
      m4 += z ** 4 / n;
      if (Math.abs(z) > 1) beyond1 += 1 / n;
      if (Math.abs(z) > 2) beyond2 += 1 / n;
    }
    // Deviations of the sample moments: √(1, 2, 15, 96) / √n. Four of them each.
    expect(Math.abs(m1)).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(m2 - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(m3)).toBeLessThan(4 * Math.sqrt(15 / n));
    expect(Math.abs(m4 - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
    expect(beyond1).toBeCloseTo(0.3173105, 2);
    expect(beyond2).toBeCloseTo(0.0455003, 2);
  });

  it('neighbours of one block are uncorrelated', () => {
    for (const lag of [1, 2, 3]) {
      let product = 0;
      for (let i = 0; i + lag < n; i++) product += (filled[i]! * filled[i + lag]!) / n;
      expect(Math.abs(product)).toBeLessThan(4 / Math.sqrt(n));
    }
  });

  it('element i does not depend on the length; the deviation scales; other counters give other numbers', () => {
    for (let length = 0; length < 9; length++) {
      const short = new Float64Array(length);
      rng.fillNormal(short, 0.5, 9);
      expect([...short]).toEqual([...filled.slice(0, length)].map((z) => 0.5 * z));
    }
    const other = new Float64Array(4);
    rng.fillNormal(other, 1, 8);
    expect(other[0]).not.toBe(filled[0]);
  });
});

describe('integer', () => {
  it('is uniform for bounds that do not divide 2^32', () => {
    const rng = createRng(21);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[rng.integer(7, i)]!++;
    expect(chiSquare(counts)).toBeLessThan(22.5); // 6 degrees of freedom, 0.1 % point
  });

  it('is unbiased for a large bound, where taking remainders alone would favour the low third', () => {
    // 2^32 mod (3·2^30) = 2^30: without rejection the lowest third would come up half of the time, not a third.
    const rng = createRng(22);
    const bound = 3 * 2 ** 30;
    let low = 0;
    for (let i = 0; i < 30_000; i++) if (rng.integer(bound, i) < 2 ** 30) low++;
    expect(Math.abs(low / 30_000 - 1 / 3)).toBeLessThan(0.011);
  });

  it('stays in range up to 2^32', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 32 }), counter, (bound, i) => {
        const drawn = createRng(1).integer(bound, i);
        expect(Number.isInteger(drawn) && drawn >= 0 && drawn < bound).toBe(true);
      }),
    );
    expect(createRng(1).integer(1, 4)).toBe(0);
  });
});

describe('permutation', () => {
  it('holds each number once', () => {
    fc.assert(
      fc.property(fc.nat(300), counter, (n, i) => {
        const order = [...createRng(2).permutation(n, i)];
        expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, index) => index));
      }),
    );
  });

  it('draws each of the 24 orders of 4 equally often', () => {
    const rng = createRng(3);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const key = rng.permutation(4, i).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expect(chiSquare([...counts.values()])).toBeLessThan(49.7); // 23 degrees of freedom, 0.1 % point
  });
});
