import { describe, expect, it } from 'vitest';
import { createRng } from '../../core/rng.ts';
import { type Controller, controlsState, controlValues, loadControls, updateControls } from './controller.ts';
import { adaptiveKl, fixedKl, klControl } from './kl.ts';
import { pid } from './pid.ts';
import { entropyTarget, learningRateByKl, lengthTarget, targetControls } from './targets.ts';

/**
 * A plant of first order: what is measured moves a share of the way to what the value of the controller makes of it.
 * Returns what was measured in each update.
 */
function simulate(
  controller: Controller,
  steady: (value: number) => number,
  {
    start,
    updates,
    share = 0.3,
    noise = 0,
  }: { start: number; updates: number; share?: number; noise?: number },
): number[] {
  const rng = createRng(1);
  let measured = start;
  return Array.from({ length: updates }, (_, at) => {
    measured += share * (steady(controller.value) - measured) + noise * rng.normal(at);
    controller.update(measured, 1);
    return measured;
  });
}
const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x / list.length, 0);

describe('pid', () => {
  const common = { setpoint: 1, raisedBy: 'above', min: 0, max: 10 } as const;

  it('sums its three terms', () => {
    const controller = pid({ ...common, proportional: 0.5, integral: 0.1, derivative: 0.2 });
    controller.update(3, 1); // e 2, Σ 2, no Δ
    expect(controller.value).toBeCloseTo(1.2, 12);
    controller.update(2, 1); // e 1, Σ 3, Δ −1
    expect(controller.value).toBeCloseTo(0.5 + 0.3 - 0.2, 12);
    const rising = pid({ ...common, derivative: 0.2, positiveDerivative: true, initial: 1 });
    rising.update(3, 1);
    rising.update(2, 1);
    expect(rising.value).toBe(1);
  });

  it('holds a plant at its setpoint, where a proportional term alone leaves an error', () => {
    // The value pushes down what is measured: at rest 5 − value.
    const plant = (value: number): number => 5 - value;
    const at = { start: 5, updates: 200 };
    const full = simulate(pid({ ...common, proportional: 0.5, integral: 0.1, derivative: 0.2 }), plant, at);
    expect(full.at(-1)).toBeCloseTo(1, 4);
    const proportional = simulate(pid({ ...common, proportional: 0.5 }), plant, at);
    expect(proportional.at(-1)).toBeCloseTo(5 - (0.5 * 4) / 1.5, 4);
  });

  it('leaves a bound at the first error that points back, however long it was held there', () => {
    const controller = pid({ ...common, integral: 0.5, max: 2 });
    for (let at = 0; at < 100; at++) controller.update(3, 1);
    expect(controller.value).toBe(2);
    controller.update(0, 1);
    expect(controller.value).toBeLessThan(2);
    for (let at = 0; at < 100; at++) controller.update(0, 1);
    expect(controller.value).toBe(0);
    controller.update(2, 1);
    expect(controller.value).toBeGreaterThan(0);
  });

  it('goes on from its state, the last error included', () => {
    const make = (): Controller => pid({ ...common, proportional: 0.1, integral: 0.1, derivative: 0.5 });
    const [straight, resumed] = [make(), make()];
    expect(Object.keys(straight.state())).toEqual(['value', 'total']);
    straight.update(2, 1);
    resumed.load(straight.state());
    expect(resumed.value).toBe(straight.value);
    for (const controller of [straight, resumed]) controller.update(4, 1);
    // 0.1 · 3 + 0.1 · 4 + 0.5 · 2
    expect(straight.value).toBeCloseTo(1.7, 12);
    expect(resumed.value).toBe(straight.value);
    for (const state of [{}, { value: 1 }, { total: 1 }] as Record<string, number>[])
      expect(() => make().load(state)).toThrow(/expected a stored value and sum of errors/);
    expect(() => learningRateByKl({ target: 1 }).load({})).toThrow(/expected a stored factor/);
  });

  it('refuses bounds the wrong way round', () => {
    expect(() => pid({ ...common, min: 3, max: 2 })).toThrow(/min below max/);
    expect(() => pid({ ...common, min: 3, max: 3 })).toThrow(/min below max/);
    expect(() => pid({ ...common, initial: 11 })).toThrow(/initial between them, .*initial 11/);
    expect(() => pid({ ...common, initial: -1 })).toThrow(/initial -1/);
  });
});

describe('targets', () => {
  it('are the examples of their documentation', () => {
    const entropy = entropyTarget({ target: 1, rate: 0.01, initial: 0, max: 1 });
    entropy.update(0.5, 1);
    expect(entropy.value).toBeCloseTo(0.03, 12);
    entropy.update(0.5, 1);
    expect(entropy.value).toBeCloseTo(0.035, 12);
    const length = lengthTarget({ target: 20, rate: 0.1, initial: 0, max: 10 });
    length.update(30, 1);
    expect(length.value).toBeCloseTo(0.3, 12);
    const rate = learningRateByKl({ target: 0.01 });
    rate.update(0.03, 1);
    expect(rate.value).toBeCloseTo(1 / 1.5, 12);
  });

  it('the learning rate stays within its bounds, and still inside the band', () => {
    const rate = learningRateByKl({ target: 0.01 });
    const valueAfter = (kl: number, updates: number): number => {
      for (let at = 0; at < updates; at++) rate.update(kl, 1);
      return rate.value;
    };
    expect([0.02, 0.005].map((kl) => valueAfter(kl, 1))).toEqual([1, 1]);
    expect(valueAfter(1, 40)).toBe(0.01);
    expect(valueAfter(0, 40)).toBe(10);
  });

  it('entropy and length stop at the largest weight, which no given coefficient is above', () => {
    const settings = { entropyTarget: 1, entropyRate: 1, lengthTarget: 2, lengthRate: 1 };
    const { entropy, length } = targetControls({ ...settings, entropyCoefficient: 3 });
    expect(entropy!.controller.value).toBe(3);
    for (const [measured, expected] of [
      [0, 3],
      [99, 0],
    ] as const) {
      for (let at = 0; at < 3; at++) entropy!.controller.update(measured, 1);
      expect(entropy!.controller.value).toBe(expected);
    }
    for (const [measured, expected] of [
      [99, 10],
      [0, -10],
    ] as const) {
      for (let at = 0; at < 40; at++) length!.controller.update(measured, 1);
      expect(length!.controller.value).toBe(expected);
    }
    expect(targetControls({ entropyRate: 1, lengthRate: 1 })).toEqual({});
  });
});

describe('targets on plants with noise', () => {
  it('entropy: a bonus that the plant answers with more entropy', () => {
    const at = { start: 3, updates: 600, share: 0.1, noise: 0.02 };
    const plant = (weight: number): number => 0.2 + 40 * weight;
    const held = simulate(entropyTarget({ target: 1, rate: 0.0005, initial: 0, max: 1 }), plant, at);
    expect(mean(held.slice(-200))).toBeCloseTo(1, 1);
    const free = simulate(fixedKl(0), plant, at);
    expect(mean(free.slice(-200))).toBeLessThan(0.3);
  });

  it('length: from above and from below', () => {
    for (const natural of [60, 10]) {
      const held = simulate(
        lengthTarget({ target: 30, rate: 0.02, initial: 0, max: 10 }),
        (cost) => natural - 20 * cost,
        { start: natural, updates: 600, share: 0.1, noise: 0.5 },
      );
      expect(Math.abs(mean(held.slice(-200)) - 30)).toBeLessThan(1);
    }
  });

  it('learning rate: the KL of an iteration, which grows with its square, comes into the band', () => {
    const controller = learningRateByKl({ target: 0.01 });
    const kl = simulate(controller, (factor) => 0.4 * factor ** 2, { start: 0.4, updates: 40, share: 1 });
    expect(kl.at(-1)).toBeLessThan(0.02);
    expect(kl.at(-1)).toBeGreaterThan(0.005);
    expect(() => learningRateByKl({ target: 0 })).toThrow(/learningRateByKl\(target\)/);
  });

  it('adaptive KL: a penalty that the plant answers with less KL', () => {
    const controller = adaptiveKl({ initial: 0.01, target: 6, horizon: 50 });
    const kl = simulate(controller, (coefficient) => 2 / coefficient, {
      start: 0,
      updates: 3000,
      share: 0.05,
    });
    expect(Math.abs(mean(kl.slice(-500)) - 6)).toBeLessThan(0.3);
  });
});

it('controls watch their metrics, and one set of them goes on from the state of another', () => {
  const make = () => ({
    kl: klControl(adaptiveKl({ initial: 0.1, target: 1, horizon: 100 })),
    ...targetControls({
      entropyTarget: 1,
      entropyRate: 0.01,
      lengthTarget: 5,
      lengthRate: 0.1,
      learningRateKl: 0.1,
    }),
  });
  const metrics = {
    'objective/kl': 3,
    'policy/entropy_avg': 0.5,
    'completions/mean_length': 8,
    'policy/approxkl_avg': 1,
  };
  const first = make();
  updateControls(first, metrics, 10);
  expect(controlValues(first)).toEqual({
    kl: expect.closeTo(0.1 * 1.02, 12),
    entropy: expect.closeTo(0.03, 12),
    length: expect.closeTo(0.36, 12),
    learningRate: expect.closeTo(1 / 1.5, 12),
  });
  const second = make();
  loadControls(second, JSON.parse(JSON.stringify(controlsState(first))) as Record<string, number>);
  for (const controls of [first, second])
    updateControls(controls, { ...metrics, 'policy/entropy_avg': 2 }, 10);
  expect(controlsState(second)).toEqual(controlsState(first));
  expect(() => loadControls(make(), {})).toThrow(/expected a stored/);
});
