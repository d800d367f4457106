import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from '../core/errors.ts';
import { createRng } from '../core/rng.ts';
import { allocateOver, allocateParameters, initialize, type ParameterSpec } from './parameters.ts';

const specs: ParameterSpec[] = [
  { name: 'a', shape: [3, 5], init: { kind: 'normal', std: 0.5 } },
  { name: 'b', shape: [16], init: { kind: 'ones' } },
  { name: 'c', shape: [], init: { kind: 'zeros' } },
];

describe('allocateOver', () => {
  const base = allocateParameters(specs);
  initialize(base, createRng(1));
  const over: ParameterSpec[] = [
    ...specs.map((spec) => ({ ...spec, frozen: spec.name !== 'b' })),
    { name: 'd', shape: [2, 2], init: { kind: 'uniform', bound: 0.5 } },
  ];

  it('binds frozen tensors where they lie, and counts, sums and differentiates the others alone', () => {
    const parameters = allocateOver(over, base.arrays());
    expect(parameters.specs.map(({ name }) => name)).toEqual(['b', 'd']);
    expect([parameters.count, parameters.flat.length, parameters.frozenBytes]).toEqual([20, 32, 64]);
    expect(parameters.view('a')).toBe(base.view('a'));
    expect(parameters.has('c')).toBe(true);
    expect(Object.keys(parameters.arrays()).sort()).toEqual(['a', 'b', 'c', 'd']);
    expect(parameters.view('b').buffer).not.toBe(base.buffer);
    const gradients = parameters.like();
    expect(Object.keys(gradients.arrays())).toEqual(['b', 'd']);
    expect(gradients.frozenBytes).toBe(0);
  });

  it('copies what is trained, over the same frozen tensors', () => {
    const parameters = allocateOver(over, base.arrays());
    parameters.flat.fill(3);
    const copy = parameters.copy();
    parameters.flat.fill(4);
    expect(copy.view('d')).toEqual(new Float32Array(4).fill(3));
    expect(copy.view('a')).toBe(base.view('a'));
  });

  it('draws evenly within the bound', () => {
    const wide = allocateParameters([{ name: 'd', shape: [4000], init: { kind: 'uniform', bound: 0.5 } }]);
    initialize(wide, createRng(2));
    const view = wide.view('d');
    expect(Math.max(...view.map(Math.abs))).toBeLessThanOrEqual(0.5);
    // The deviation is 0.5/√3; five standard errors of the mean.
    expect(Math.abs(view.reduce((sum, x) => sum + x, 0) / 4000)).toBeLessThan(
      (5 * 0.5) / Math.sqrt(3 * 4000),
    );
    expect(view.filter((x) => Math.abs(x) > 0.25).length / 4000).toBeCloseTo(0.5, 1);
  });

  it('names a frozen tensor that is missing or of another size', () => {
    expect(() => allocateOver(over, {})).toThrow(
      /allocateOver\(a\): expected an array of 15 numbers .*received none/,
    );
    expect(() => allocateOver(over, { a: new Float32Array(3), c: new Float32Array(1) })).toThrow(
      /received 3/,
    );
  });
});

describe('allocateParameters', () => {
  it('puts tensors one after the other on 64-byte boundaries of one shared buffer', () => {
    const parameters = allocateParameters(specs);
    // 15 floats fill 16 places; 16 fill 16; 1 fills 16: 48 floats of 4 bytes.
    expect(parameters.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(parameters.buffer.byteLength).toBe(48 * 4);
    expect(parameters.flat.length).toBe(48);
    expect(parameters.count).toBe(32);
    expect(specs.map(({ name }) => parameters.view(name).byteOffset)).toEqual([0, 64, 128]);
    expect(specs.map(({ name }) => parameters.view(name).length)).toEqual([15, 16, 1]);
    parameters.view('b')[2] = 7;
    expect(parameters.flat[18]).toBe(7);
    expect(parameters.arrays().b![2]).toBe(7);
    expect(parameters.arrays().b!.buffer).toBe(parameters.buffer);
  });

  it('keeps tensors apart and aligned for any shapes', () => {
    const shape = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 3 });
    fc.assert(
      fc.property(fc.array(shape, { maxLength: 12 }), (shapes) => {
        const parameters = allocateParameters(shapes.map((shape, index) => ({ name: `p${index}`, shape })));
        for (const [index] of shapes.entries()) {
          const view = parameters.view(`p${index}`);
          expect(view.byteOffset % 64).toBe(0);
          for (let i = 0; i < view.length; i++) {
            expect(view[i]).toBe(0);
            view[i] = index + 1;
          }
        }
        const written = parameters.flat.filter((x) => x !== 0).length;
        expect(written).toBe(parameters.count);
      }),
    );
  });

  it('refuses a name twice, a fractional dimension and an unknown name', () => {
    expect(() => allocateParameters([specs[0]!, specs[0]!])).toThrow(ShapeError);
    expect(() => allocateParameters([{ name: 'x', shape: [1.5] }])).toThrow(/x.*\[1\.5\]/);
    expect(() => allocateParameters(specs).view('z')).toThrow(/"z".*a, b, c/);
  });
});

describe('Parameters', () => {
  it('makes zeros of the same layout that share no memory', () => {
    const parameters = allocateParameters(specs);
    parameters.flat.fill(2);
    const gradients = parameters.like();
    expect(gradients.flat.length).toBe(48);
    expect(gradients.flat.every((x) => x === 0)).toBe(true);
    gradients.view('a')[0] = 1;
    expect(parameters.view('a')[0]).toBe(2);
  });

  it('copies between equal layouts, also when allocated apart, and refuses others', () => {
    const parameters = allocateParameters(specs);
    initialize(parameters, createRng(1));
    const copy = allocateParameters(specs);
    copy.copyFrom(parameters);
    expect(copy.flat).toEqual(parameters.flat);
    const other = allocateParameters([{ name: 'a', shape: [5, 3] }, ...specs.slice(1)]);
    expect(() => other.copyFrom(parameters)).toThrow(/expected a \[5, 3\], received a \[3, 5\]/);
    expect(() => allocateParameters(specs.slice(0, 2)).copyFrom(parameters)).toThrow(/no further parameter/);
  });
});

describe('initialize', () => {
  it('draws by kind, leaves the gaps zero and depends on the tensor name only', () => {
    const parameters = allocateParameters(specs);
    initialize(parameters, createRng(3));
    expect(parameters.view('b')).toEqual(new Float32Array(16).fill(1));
    expect(parameters.view('c')).toEqual(new Float32Array(1));
    expect([parameters.flat[15], ...parameters.flat.slice(33)].every((x) => x === 0)).toBe(true);
    const reordered = allocateParameters([...specs].reverse());
    initialize(reordered, createRng(3));
    expect(reordered.view('a')).toEqual(parameters.view('a'));
    const renamed = allocateParameters([{ ...specs[0]!, name: 'other' }]);
    initialize(renamed, createRng(3));
    expect(renamed.view('other')).not.toEqual(parameters.view('a'));
  });

  it('draws the standard deviation that it was asked for', () => {
    const parameters = allocateParameters([
      { name: 'w', shape: [200, 100], init: { kind: 'normal', std: 0.02 } },
    ]);
    initialize(parameters, createRng(0));
    const view = parameters.view('w');
    const mean = view.reduce((sum, x) => sum + x, 0) / view.length;
    const variance = view.reduce((sum, x) => sum + (x - mean) ** 2, 0) / view.length;
    // Standard errors at n = 20 000: 0.02 / √n = 1.4e-4 and 0.02 / √(2n) = 1.0e-4; bounds of four of them.
    expect(Math.abs(mean)).toBeLessThan(6e-4);
    expect(Math.abs(Math.sqrt(variance) - 0.02)).toBeLessThan(4e-4);
  });

  it('refuses a parameter without an initializer', () => {
    expect(() => initialize(allocateParameters([{ name: 'w', shape: [2] }]), createRng(0))).toThrow(
      ConfigError,
    );
  });
});
