import { describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError, ShapeError } from '../core/errors.ts';
import { createRng } from '../core/rng.ts';
import { sharedVector, wasmMemoryOf } from '../core/shared-vector.ts';
import {
  type AdamOptions,
  adam,
  adamW,
  addInto,
  type Optimizer,
  type OptimizerStep,
  type Range,
  type SgdOptions,
  sgd,
} from './optimizer.ts';

/** The formulas of the doc comments in float64, one weight at a time. */
function reference(
  rule: 'adamw' | 'adam' | 'sgd',
  options: AdamOptions & SgdOptions,
): (weights: Float64Array, step: Omit<OptimizerStep, 'weights'>) => void {
  const { size, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, momentum = 0, nesterov = false } = options;
  const [m, v] = [new Float64Array(size), new Float64Array(size)];
  const decays = (i: number): boolean =>
    (options.decayed ?? [{ start: 0, end: size }]).some(({ start, end }) => start <= i && i < end);
  let t = 0;
  return (w, { gradients, learningRate, gradientScale }) => {
    t++;
    for (let i = 0; i < size; i++) {
      const lambda = decays(i) ? (options.weightDecay ?? 0) : 0;
      let g = gradients[i]! * gradientScale;
      if (rule !== 'adamw') g += lambda * w[i]!;
      if (rule === 'sgd') {
        m[i] = momentum * m[i]! + g;
        w[i] = w[i]! - learningRate * (nesterov ? g + momentum * m[i]! : m[i]!);
        continue;
      }
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g ** 2;
      const decay = rule === 'adamw' ? learningRate * lambda * w[i]! : 0;
      const direction = m[i]! / (1 - beta1 ** t) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
      w[i] = w[i]! - decay - learningRate * direction;
    }
  };
}

const decayed: Range[] = [
  { start: 70, end: 81 },
  { start: 3, end: 20 },
  { start: 15, end: 30 },
];
const cases: [string, 'adamw' | 'adam' | 'sgd', (options: AdamOptions & SgdOptions) => Optimizer, object][] =
  [
    ['AdamW', 'adamw', adamW, {}],
    ['AdamW with decay', 'adamw', adamW, { weightDecay: 0.1 }],
    ['AdamW with decay in places', 'adamw', adamW, { weightDecay: 0.1, decayed }],
    ['AdamW with other constants', 'adamw', adamW, { beta1: 0.5, beta2: 0.9, epsilon: 0.01 }],
    ['Adam', 'adam', adam, {}],
    ['Adam with decay in places', 'adam', adam, { weightDecay: 0.1, decayed }],
    ['descent', 'sgd', sgd, {}],
    ['descent with decay in places', 'sgd', sgd, { weightDecay: 0.1, decayed }],
    ['momentum', 'sgd', sgd, { momentum: 0.9, weightDecay: 0.1 }],
    ['Nesterov momentum', 'sgd', sgd, { momentum: 0.9, nesterov: true }],
  ];

describe('optimizers', () => {
  it.each(cases)('%s follows its formula in float64 for 20 steps', (_, rule, create, extra) => {
    const rng = createRng(1);
    const size = 83; // no multiple of 4
    const options = { size, ...extra };
    const weights = new Float32Array(size);
    rng.fillNormal(weights, 1);
    const expected = Float64Array.from(weights);
    const optimizer = create(options);
    const follow = reference(rule, options);
    const start = weights.slice();
    for (let step = 0; step < 20; step++) {
      const gradients = new Float32Array(size);
      rng.fillNormal(gradients, 0.3, step);
      gradients[5] = 0;
      const update = { gradients, learningRate: 0.01 / (1 + step), gradientScale: step % 2 === 0 ? 1 : 0.3 };
      optimizer.step({ weights, ...update });
      follow(expected, update);
    }
    // Weights of about 1 move by 0.01 to 0.04; float32 rounds them by 6e-8 twenty times. A lost correction, sign or
    // decay moves them by more than 1e-4.
    expect(Math.max(...weights.map((w, i) => Math.abs(w - start[i]!)))).toBeGreaterThan(0.005);
    for (const [i, w] of weights.entries())
      expect(Math.abs(w - expected[i]!), `weight ${i}`).toBeLessThan(2e-6);
  });

  it('AdamW moves by one learning rate against the gradient at first, and decays', () => {
    const weights = Float32Array.of(2, 2, 2);
    const optimizer = adamW({ size: 3, weightDecay: 0.1 });
    optimizer.step({
      weights,
      gradients: Float32Array.of(-3, 0.001, 0),
      learningRate: 0.01,
      gradientScale: 1,
    });
    // 2 − 0.01·0.1·2 + 0.01·(1, −1, 0)
    expect(weights[0]).toBeCloseTo(2.008, 6);
    expect(weights[1]).toBeCloseTo(1.988, 6);
    expect(weights[2]).toBeCloseTo(1.998, 6);
    const { steps, moments } = optimizer.state();
    expect(steps).toBe(1);
    expect(moments.first![0]).toBeCloseTo(-0.3, 6); // (1 − 0.9) · −3
    expect(moments.second![0]).toBeCloseTo(0.009, 6); // (1 − 0.999) · 9
  });

  it('AdamW decays also when η·λ is too small for 1 − η·λ in float32', () => {
    const weights = Float32Array.of(1);
    const optimizer = adamW({ size: 1, weightDecay: 0.01 });
    // η·λ = 3.1e-8; the step is 3.1e-6 · ⅓ (a gradient of ε/2 against ε).
    optimizer.step({ weights, gradients: Float32Array.of(5e-9), learningRate: 3.1e-6, gradientScale: 1 });
    expect(1 - weights[0]!).toBe(18 * 2 ** -24); // 1.0644e-6 in units of 5.96e-8; without decay 17 of them
  });

  it('momentum after two steps, derived by hand', () => {
    const step = { gradients: Float32Array.of(1), learningRate: 0.1, gradientScale: 1 };
    const [plain, nesterov] = [Float32Array.of(0), Float32Array.of(0)];
    const first = sgd({ size: 1, momentum: 0.5 });
    const second = sgd({ size: 1, momentum: 0.5, nesterov: true });
    for (let k = 0; k < 2; k++) {
      first.step({ weights: plain, ...step });
      second.step({ weights: nesterov, ...step });
    }
    // b = 1, then 1.5. Plain: −0.1 (1 + 1.5). Nesterov: g + 0.5 b = 1.5, then 1.75: −0.1 (1.5 + 1.75).
    expect(plain[0]).toBeCloseTo(-0.25, 6);
    expect(nesterov[0]).toBeCloseTo(-0.325, 6);
  });

  it('leaves the gaps between tensors, zero with gradient zero, at zero', () => {
    for (const [, , create, extra] of cases) {
      const weights = new Float32Array(83);
      create({ size: 83, ...extra }).step({
        weights,
        gradients: new Float32Array(83),
        learningRate: 1,
        gradientScale: 1,
      });
      expect(weights.every((w) => w === 0)).toBe(true);
    }
  });

  it('scales gradients as they are read', () => {
    const [a, b] = [Float32Array.of(1, 2), Float32Array.of(1, 2)];
    adamW({ size: 2 }).step({
      weights: a,
      gradients: Float32Array.of(8, -4),
      learningRate: 0.1,
      gradientScale: 0.25,
    });
    adamW({ size: 2 }).step({
      weights: b,
      gradients: Float32Array.of(2, -1),
      learningRate: 0.1,
      gradientScale: 1,
    });
    expect(a).toEqual(b);
  });
});

describe('memory', () => {
  it('gives the same bits in one WebAssembly memory, in several, and in ordinary arrays', () => {
    const size = 270_001;
    const places = [
      () => {
        const weights = sharedVector(size);
        return { weights, gradients: sharedVector(size, weights), beside: weights };
      },
      () => ({ weights: sharedVector(size), gradients: sharedVector(size) }),
      () => ({ weights: new Float32Array(size), gradients: new Float32Array(size) }),
    ];
    const [drawn, ...slopes] = [0, 1, 2].map((index) => {
      const vector = new Float32Array(size);
      createRng(1).fillNormal(vector, 1, index);
      return vector;
    });
    for (const [, , create, extra] of [cases[2]!, cases[7]!, cases[9]!]) {
      const results = places.map((place) => {
        const { weights, gradients, beside } = { beside: undefined, ...place() };
        const optimizer = create({ size, ...(beside === undefined ? {} : { beside }), ...extra });
        weights.set(drawn!);
        for (const slope of slopes) {
          gradients.set(slope);
          optimizer.step({ weights, gradients, learningRate: 0.01, gradientScale: 0.7 });
        }
        if (beside !== undefined) {
          for (const moment of Object.values(optimizer.state().moments)) {
            expect(wasmMemoryOf(moment)).toBe(wasmMemoryOf(weights));
          }
        }
        return Buffer.from(weights.slice().buffer);
      });
      expect(results[1]!.equals(results[0]!)).toBe(true);
      expect(results[2]!.equals(results[0]!)).toBe(true);
    }
  });

  it('changes neither gradients nor anything outside its vectors', () => {
    const all = sharedVector(1 << 19).fill(7);
    const [weights, gradients] = [all.subarray(5, 5 + 100_001), all.subarray(200_003, 300_004)];
    adamW({ size: weights.length, beside: all }).step({
      weights,
      gradients,
      learningRate: 1,
      gradientScale: 1,
    });
    expect(all.findIndex((x) => x !== 7)).toBe(5);
    expect(all.findLastIndex((x) => x !== 7)).toBe(5 + 100_000);
  });
});

describe('state', () => {
  it.each(cases)('%s continues to the bit from a stored state', (_, _rule, create, extra) => {
    const size = 83;
    const run = (optimizer: Optimizer, weights: Float32Array, from: number, to: number): void => {
      for (let step = from; step < to; step++) {
        const gradients = new Float32Array(size);
        createRng(3).fillNormal(gradients, 1, step);
        optimizer.step({ weights, gradients, learningRate: 0.1, gradientScale: 1 });
      }
    };
    const through = new Float32Array(size).fill(1);
    run(create({ size, ...extra }), through, 0, 6);
    const stopped = new Float32Array(size).fill(1);
    const before = create({ size, ...extra });
    run(before, stopped, 0, 3);
    const stored = structuredClone(before.state());
    const after = create({ size, ...extra });
    after.load(stored);
    run(after, stopped, 3, 6);
    expect(stopped).toEqual(through);
    expect(after.state().steps).toBe(6);
  });

  it('refuses the state of another optimizer or size', () => {
    const stored = adamW({ size: 4 }).state();
    expect(() => adamW({ size: 5 }).load(stored)).toThrow(CheckpointError);
    expect(() => sgd({ size: 4, momentum: 0.9 }).load(stored)).toThrow(
      'optimizer sgd: expected a stored state with momentum[4], received first[4], second[4].',
    );
  });
});

describe('arguments', () => {
  it('are checked', () => {
    expect(() => adamW({ size: 1, beta1: 1 })).toThrow(
      'adamw(beta1): expected a number in [0, 1), received 1.',
    );
    expect(() => adam({ size: 1, beta2: -0.1 })).toThrow(ConfigError);
    expect(() => adam({ size: 1, epsilon: 0 })).toThrow(ConfigError);
    expect(() => adamW({ size: 1, weightDecay: -1 })).toThrow(ConfigError);
    expect(() => adamW({ size: 4, weightDecay: 1, decayed: [{ start: 2, end: 5 }] })).toThrow(
      'stretches within [0, 4), received [2, 5)',
    );
    expect(() => sgd({ size: 1, nesterov: true })).toThrow(ConfigError);
    const update = { weights: new Float32Array(3), learningRate: 1, gradientScale: 1 };
    expect(() => adamW({ size: 3 }).step({ ...update, gradients: new Float32Array(2) })).toThrow(ShapeError);
    expect(() => addInto(new Float32Array(2), new Float32Array(3))).toThrow(ShapeError);
  });
});

describe('addInto', () => {
  it('adds each element once, for any length', () => {
    for (const length of [0, 1, 3, 4, 5, 8191, 8192, 8193, 20_000]) {
      const sum = Float32Array.from({ length }, (_, i) => i / 7);
      const part = Float32Array.from({ length }, (_, i) => 1 / (i + 3));
      const expected = sum.map((x, i) => x + part[i]!);
      addInto(sum, part);
      expect(Buffer.compare(new Uint8Array(sum.buffer), new Uint8Array(expected.buffer))).toBe(0);
    }
  });
});
