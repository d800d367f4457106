import { describe, expect, it } from 'vitest';
import { adaptiveKl, fixedKl } from './kl.ts';

describe('adaptiveKl', () => {
  it('rises by at most 20 % of n/horizon above the target, falls below it, and stays at it', () => {
    const controller = adaptiveKl({ initial: 0.2, target: 6, horizon: 10_000 });
    controller.update(12, 256); // error clipped to 0.2: 0.2·(1 + 0.2·0.0256)
    expect(controller.value).toBeCloseTo(0.201024, 12);
    controller.update(6, 256);
    expect(controller.value).toBeCloseTo(0.201024, 12);
    controller.update(5.4, 1000); // error −0.1: ·(1 − 0.01)
    expect(controller.value).toBeCloseTo(0.19901376, 12);
  });

  it('goes on from a stored state', () => {
    const first = adaptiveKl({ initial: 0.2, target: 6, horizon: 100 });
    first.update(9, 10);
    const second = adaptiveKl({ initial: 0.2, target: 6, horizon: 100 });
    second.load(first.state());
    expect(second.value).toBe(first.value);
    expect(() => second.load({})).toThrow(/expected a stored coefficient/);
  });

  it('refuses a target of 0 and a negative coefficient', () => {
    expect(() => adaptiveKl({ initial: 0.1, target: 0, horizon: 1 })).toThrow(/adaptiveKl\(target\)/);
    expect(() => fixedKl(-1)).toThrow(/a coefficient of 0 or more/);
  });
});
