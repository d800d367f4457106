import { afterAll, describe, expect, it } from 'vitest';
import { lastScores, runTiny, tinySettings } from '../../../test/support/tiny-online.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import type { MetricRecord } from '../../parts/trainer/trainer.ts';
import { config, grpo } from './grpo.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

type Overrides = Partial<Parameters<typeof config.parse>[0] & object>;
type More = Partial<Parameters<typeof runTiny>[0]>;

function run(overrides: Overrides = {}, more: More = {}) {
  const settings = config.parse({ ...tinySettings, updateEpochs: 2, ...overrides });
  return runTiny({ engine, config: settings, step: grpo.build(settings), ...more });
}

describe('grpo', () => {
  it('learns what is scored; without the comparison within groups it does not', async () => {
    const learned = await run();
    expect(learned.records[0]!['objective/scores']).toBeLessThan(0.15);
    expect(lastScores(learned.records)).toBeGreaterThan(0.8);
    // Every completion of a prompt gets the same score: there is nothing to compare.
    const blind = await run({ iterations: 10 }, { score: () => 0.5 });
    expect(blind.records.at(-1)!.frac_reward_zero_std).toBe(1);
    expect(blind.records.at(-1)!['policy/grad_norm']).toBe(0);
  });

  it.each([
    ['Dr. GRPO', { scaleRewards: 'none', aggregation: 'constant' }],
    ['DAPO', { aggregation: 'token-mean', clipRangeHigh: 0.28, dropUniformGroups: true }],
    ['GSPO', { importance: 'sequence', clipRange: 0.05 }],
    ['with a KL in the loss', { klCoefficient: 0.01 }],
  ] as const)('learns as %s', async (_name, overrides) => {
    expect(lastScores((await run(overrides)).records)).toBeGreaterThan(0.7);
  });

  it('stops before the margin where length costs', async () => {
    // Five good tokens and the stop token are six of eight, 0.625 without penalty; one more good token gains 0.125 and costs 0.5.
    const dapo = { aggregation: 'token-mean', clipRangeHigh: 0.28, dropUniformGroups: true } as const;
    const { records } = await run({ ...dapo, overlongMargin: 2 });
    expect(lastScores(records)).toBeGreaterThan(0.55);
    expect(lastScores(records)).toBeLessThan(0.7);
    expect(records.at(-1)!['completions/mean_length']).toBeLessThan(6.5);
  });

  it('stays nearer to the reference the more the KL weighs', async () => {
    const klAt = async (klCoefficient: number): Promise<number> =>
      (await run({ klCoefficient, iterations: 12 })).records.at(-1)!['objective/kl']!;
    expect(await klAt(1)).toBeLessThan(0.3 * (await klAt(0)));
  });

  it('learns nothing from completions that were cut, when told so', async () => {
    // At random weights nearly all are cut at eight tokens; of one token all are cut but those that stop at once.
    const { records } = await run({ maskTruncated: true, iterations: 1, maxNewTokens: 1 });
    const clipped = records[0]!['completions/clipped_ratio']!;
    expect(clipped).toBeGreaterThan(0.5);
    expect(clipped).toBeLessThan(1);
    expect(records[0]!.num_tokens).toBe(Math.round(32 * (1 - clipped)) * 3);
  });

  it('has no critic, and stopped and resumed gives the bytes of the uninterrupted run', async () => {
    const short = { iterations: 5, miniBatchSize: 16 };
    const straight = await run(short);
    expect(straight.result.critic).toBeUndefined();
    expect(straight.records[0]).not.toHaveProperty('val/explained_variance');
    const stopped = await run(short, { stopAfter: 3 });
    expect(stopped.result.outcome).toBe('interrupted');
    const resumed = await run(short, { resume: stopped.saved! });
    expect(Buffer.from(resumed.weights.slice().buffer)).toEqual(Buffer.from(straight.weights.slice().buffer));
    const apartFromSpeed = ({ eps: _, ...record }: MetricRecord): MetricRecord => record;
    expect(resumed.records.map(apartFromSpeed)).toEqual(straight.records.slice(3).map(apartFromSpeed));
  });

  it('refuses sizes that do not fit, and a margin above the limit', async () => {
    expect(() => config.parse({ ...tinySettings, completionsPerPrompt: 1 })).toThrow();
    await expect(run({ completionsPerPrompt: 5 })).rejects.toThrow(/a divisor of batchSize \(32\)/);
    expect(() => run({ overlongMargin: 9 })).toThrow(/overlongMargin: expected at most maxNewTokens \(8\)/);
  });
});
