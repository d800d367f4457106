import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { sharedVector } from '../core/shared-vector.ts';
import { clipScale, firstNonFinite, globalNorm } from './clip.ts';

describe('globalNorm', () => {
  it('is the L2 norm', () => {
    expect(globalNorm(Float32Array.of(3, 4))).toBe(5);
    expect(globalNorm(new Float32Array(0))).toBe(0);
    // Float32 squares would overflow: (3·10²⁰)².
    expect(globalNorm(Float32Array.of(3e20, 4e20)) / 5e20).toBeCloseTo(1, 6);
  });

  it.each([1, 7, 8, 9, 8191, 8192, 8193, 300_001])(
    'sums %i squares in the stated order, wherever they lie',
    (length) => {
      const vector = new Float32Array(length);
      createRng(1).fillNormal(vector, 1);
      let total = 0;
      for (let start = 0; start < length; start += 8192) {
        const sums = new Float64Array(8);
        for (let i = start; i < Math.min(start + 8192, length); i++) sums[i % 8]! += vector[i]! ** 2;
        const [a, b, c, d, e, f, g, h] = sums as unknown as number[];
        total += a! + c! + (e! + g!) + (b! + d! + (f! + h!));
      }
      expect(globalNorm(vector)).toBe(Math.sqrt(total));
      const shared = sharedVector(length);
      shared.set(vector);
      expect(globalNorm(shared)).toBe(Math.sqrt(total));
    },
  );

  it('reads nothing outside its vector', () => {
    const all = sharedVector(1 << 18).fill(1);
    for (const length of [1, 8185, 8190, 8191])
      expect(globalNorm(all.subarray(0, length)) ** 2).toBeCloseTo(length);
  });

  it('is not finite exactly when an element is not', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const index of [0, 5, 8191, 8192, 9999]) {
        const vector = new Float32Array(10_000);
        vector[index] = bad;
        expect(Number.isFinite(globalNorm(vector)), `${bad} at ${index}`).toBe(false);
      }
    }
    expect(Number.isFinite(globalNorm(new Float32Array(10_000).fill(3.4028234e38)))).toBe(true);
  });
});

describe('clipScale', () => {
  it('brings a long gradient to the limit and leaves a short one', () => {
    expect(clipScale(4, 1)).toBe(1 / 4.000001);
    expect(clipScale(0.5, 1)).toBe(1);
    expect(clipScale(0, 1)).toBe(1);
    expect(clipScale(Number.NaN, 1)).toBeNaN();
  });
});

describe('firstNonFinite', () => {
  it('names the first bad parameter in order', () => {
    const views: Record<string, Float32Array> = {
      a: Float32Array.of(1, 2),
      b: new Float32Array(9000),
      c: Float32Array.of(Number.NaN),
    };
    const parameters = {
      specs: Object.keys(views).map((name) => ({ name, shape: [views[name]!.length] })),
      view: (name: string) => views[name]!,
    };
    expect(firstNonFinite(parameters)).toBe('c');
    views.b![8999] = Number.POSITIVE_INFINITY;
    expect(firstNonFinite(parameters)).toBe('b');
    views.b![8999] = 0;
    views.c![0] = 0;
    expect(firstNonFinite(parameters)).toBeUndefined();
  });
});
