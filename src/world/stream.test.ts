import { expect, it } from 'vitest';
import { disguisesOfWeek } from './disguises.ts';
import { weeklyStream } from './stream.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 0 });

it('holds jailbreaks in their share, all disguised; of the others about a tenth', () => {
  const rows = weeklyStream(world, { week: 3, count: 1000 });
  const jailbreaks = rows.filter(({ jailbreak }) => jailbreak);
  // Binomial(1000, 0.17): 170 ± 12.
  expect(Math.abs(jailbreaks.length - 170)).toBeLessThan(48);
  for (const { requestId, family } of jailbreaks) {
    expect(world.request(requestId).severity).toBeGreaterThan(0);
    expect(family).toBeDefined();
  }
  const benign = rows.filter(({ jailbreak }) => !jailbreak);
  expect(benign.every(({ requestId }) => world.request(requestId).severity === 0)).toBe(true);
  const worn = benign.filter(({ family }) => family !== undefined).length / benign.length;
  expect(worn).toBeGreaterThan(0.06);
  expect(worn).toBeLessThan(0.14);
});

it('changes its disguises: those of the first week are gone by the tenth', () => {
  const families = (week: number) =>
    new Set(weeklyStream(world, { week, count: 400 }).flatMap(({ family }) => family ?? []));
  const [first, tenth] = [families(0), families(9)];
  expect([...first].filter((family) => tenth.has(family))).toEqual([]);
  for (let week = 0; week < 30; week++) {
    const shares = disguisesOfWeek(world.rng.split('disguises'), week).map(({ share }) => share);
    expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  }
});

it('refuses what is no week or share', () => {
  expect(() => weeklyStream(world, { week: -1, count: 1 })).toThrow(/weeklyStream: expected a week from 0/);
  expect(() => weeklyStream(world, { week: 0, count: 1, share: 1.5 })).toThrow(/share 1.5/);
});
