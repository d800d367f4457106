import { afterAll, describe, expect, it } from 'vitest';
import { lastScores, runTiny, shareOfGood, tinySettings } from '../../../test/support/tiny-online.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { config, rloo } from './rloo.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

type Overrides = Partial<Parameters<typeof config.parse>[0] & object>;

function run(overrides: Overrides = {}, more: Partial<Parameters<typeof runTiny>[0]> = {}) {
  const settings = config.parse({
    ...{ ...tinySettings, klCoefficient: 0.01, completionsPerPrompt: 4 },
    ...overrides,
  });
  return runTiny({ engine, config: settings, step: rloo.build(settings), ...more });
}

describe('rloo', () => {
  it('learns what is scored, also where all scores are high: the baseline takes it off', async () => {
    const learned = await run();
    expect(learned.records[0]!['objective/scores']).toBeLessThan(0.15);
    expect(lastScores(learned.records)).toBeGreaterThan(0.8);
    const raised = await run({ iterations: 3 }, { score: (item) => 100 + Number(shareOfGood(item)) });
    const plain = await run({ iterations: 3 });
    // The same advantages but for rounding of the larger scores.
    expect(raised.records[0]!['policy/grad_norm']).toBeCloseTo(plain.records[0]!['policy/grad_norm']!, 5);
  });

  it('takes the KL of the whole completion off the score', async () => {
    const klAt = async (klCoefficient: number): Promise<number> =>
      (await run({ klCoefficient, iterations: 15 })).records.at(-1)!['objective/kl']!;
    expect(await klAt(0.5)).toBeLessThan(0.3 * (await klAt(0)));
  });

  it('makes one pass by default, on-policy: nothing is clipped', async () => {
    const { records } = await run({ iterations: 2 });
    expect(records.map((record) => record['policy/clipfrac_avg'])).toEqual([0, 0]);
    expect(records[0]!['val/ratio']).toBeCloseTo(1, 5);
  });
});
