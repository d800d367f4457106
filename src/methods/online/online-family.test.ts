/** REINFORCE++, ReMax and online DPO on the task of the other online methods; dynamic sampling, curriculum and targets. */
import { afterAll, describe, expect, it } from 'vitest';
import {
  lastScores,
  runTiny,
  type SavedRun,
  shareOfGood,
  tinySettings,
} from '../../../test/support/tiny-online.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import type { ScoreFunction } from '../../parts/scorer/scorer.ts';
import type { MetricRecord } from '../../parts/trainer/trainer.ts';
import * as grpoModule from './grpo.ts';
import * as onlineDpoModule from './online-dpo.ts';
import * as ppoModule from './ppo.ts';
import * as reinforceModule from './reinforce-plus-plus.ts';
import * as remaxModule from './remax.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const methods = {
  grpo: [grpoModule.config, grpoModule.grpo],
  'online-dpo': [onlineDpoModule.config, onlineDpoModule.onlineDpo],
  ppo: [ppoModule.config, ppoModule.ppo],
  'reinforce-plus-plus': [reinforceModule.config, reinforceModule.reinforcePlusPlus],
  remax: [remaxModule.config, remaxModule.remax],
} as const;

type Name = keyof typeof methods;
type More = Partial<Parameters<typeof runTiny>[0]>;

function run(name: Name, overrides: Record<string, unknown> = {}, more: More = {}) {
  const [schema, method] = methods[name];
  // Online DPO has no KL beside its loss.
  const kl = name === 'online-dpo' ? {} : { klCoefficient: 0.01 };
  const settings = schema.parse({ ...tinySettings, ...kl, ...overrides });
  return runTiny({ engine, config: settings, step: method.build(settings as never), ...more });
}
describe('reinforce-plus-plus', () => {
  it('learns what is scored, with and without the group as baseline', async () => {
    const plain = await run('reinforce-plus-plus');
    expect(plain.records[0]!['objective/scores']).toBeLessThan(0.15);
    expect(lastScores(plain.records)).toBeGreaterThan(0.8);
    const grouped = await run('reinforce-plus-plus', { baseline: 'group', completionsPerPrompt: 4 });
    expect(lastScores(grouped.records)).toBeGreaterThan(0.8);
  });

  it('whitens over the batch: the scale and the level of scores do not matter without a KL', async () => {
    const short = { iterations: 2, klCoefficient: 0 };
    const plain = await run('reinforce-plus-plus', short);
    const scaled = await run('reinforce-plus-plus', short, {
      score: (item) => 50 + 7 * Number(shareOfGood(item)),
    });
    const norms = ({ records }: typeof plain): number[] =>
      records.map((record) => record['policy/grad_norm']!);
    norms(scaled).forEach((norm, at) => void expect(norm).toBeCloseTo(norms(plain)[at]!, 4));
  });

  it('needs a group to compare with', () => {
    expect(() => run('reinforce-plus-plus', { baseline: 'group' })).toThrow(
      /completionsPerPrompt: expected 2 or more/,
    );
  });
});

describe('remax', () => {
  it('learns what is scored, and the baseline rises with it', async () => {
    const { records } = await run('remax');
    expect(lastScores(records)).toBeGreaterThan(0.8);
    expect(records.at(-1)!['objective/baseline']).toBeGreaterThan(0.8);
    expect(records[0]!.episode).toBe(32);
  });

  it('learns where all scores are high; without the baseline it does not', async () => {
    const settings = remaxModule.config.parse({ ...tinySettings, klCoefficient: 0.01, iterations: 20 });
    const score: ScoreFunction = (item) => 20 + Number(shareOfGood(item));
    const step = remaxModule.remax.build(settings);
    const without: typeof step = {
      ...step,
      estimate: (batch, values) => step.estimate({ ...batch, baselines: batch.scores.map(() => 0) }, values),
    };
    const last = async (variant: typeof step): Promise<number> =>
      lastScores((await runTiny({ engine, config: settings, step: variant, score })).records) - 20;
    expect(await last(step)).toBeGreaterThan(0.5);
    expect(await last(without)).toBeLessThan(0.3);
  });
});

describe('online-dpo', () => {
  it('learns what is scored; with pairs the wrong way round the opposite', async () => {
    const settings = { completionsPerPrompt: 4, updateEpochs: 2, beta: 0.5, iterations: 20 };
    const { records } = await run('online-dpo', settings);
    expect(lastScores(records)).toBeGreaterThan(0.8);
    expect(records.at(-1)!['rewards/margins']).toBeGreaterThan(0);
    const worse = await run(
      'online-dpo',
      { ...settings, iterations: 6 },
      { score: (item) => -Number(shareOfGood(item)) },
    );
    expect(-worse.records.at(-1)!['objective/scores']!).toBeLessThan(0.05);
  });
});

/** Whether a completion has the token at all: groups of four often agree. */
const anyGood: ScoreFunction = (item) => (Number(shareOfGood(item)) > 0 ? 1 : 0);

describe('dynamic sampling', () => {
  const settings = { completionsPerPrompt: 4, iterations: 3, resamplingRounds: 10 };

  it('replaces groups of equal scores until the batch is full', async () => {
    const { records } = await run('grpo', settings, { score: anyGood });
    for (const record of records) {
      expect(record['sampling/groups']).toBe(8);
      expect(record.frac_reward_zero_std).toBe(0);
    }
    expect(Math.max(...records.map((record) => record['sampling/resampled_share']!))).toBeGreaterThan(0);
    const without = await run('grpo', { ...settings, resamplingRounds: 1 }, { score: anyGood });
    expect(Math.max(...without.records.map((record) => record.frac_reward_zero_std!))).toBeGreaterThan(0);
  });

  it('names the cause where nothing differs within its rounds', async () => {
    await expect(run('grpo', { ...settings, resamplingRounds: 3 }, { score: () => 1 })).rejects.toThrow(
      /iteration 1: expected a prompt whose completions have different scores, received 24 prompts in 3 rounds/,
    );
  });
});

describe('targets', () => {
  it('entropy is held near its target, where without it falls', async () => {
    const settings = { iterations: 25, completionsPerPrompt: 4, updateEpochs: 2 };
    const free = await run('grpo', settings);
    const held = await run('grpo', { ...settings, entropyTarget: 1.5, entropyRate: 0.2 });
    const entropy = ({ records }: typeof free): number => records.at(-1)!['policy/entropy_avg']!;
    expect(entropy(free)).toBeLessThan(0.8);
    expect(entropy(held)).toBeGreaterThan(1);
    expect(held.records.at(-1)!.entropy_coef).toBeGreaterThan(0);
  });

  it('length comes near its target', async () => {
    const settings = {
      iterations: 25,
      completionsPerPrompt: 4,
      updateEpochs: 2,
      lengthTarget: 4,
      lengthRate: 0.5,
    };
    const { records } = await run('grpo', settings, { score: () => 0 });
    const late = records.slice(-5).map((record) => record['completions/mean_length']!);
    expect(records[0]!['completions/mean_length']).toBeGreaterThan(6);
    expect(Math.abs(late.reduce((sum, length) => sum + length / 5, 0) - 4)).toBeLessThan(1.2);
  });

  it('the learning rate follows the KL of an iteration, and needs more than one update', async () => {
    const settings = { iterations: 6, completionsPerPrompt: 4, updateEpochs: 2, learningRateKl: 1e-6 };
    const { records } = await run('grpo', settings);
    expect(records.at(-1)!.lr).toBeCloseTo(0.01 / 1.5 ** 5, 8);
    await expect(run('grpo', { ...settings, updateEpochs: 1 })).rejects.toThrow(
      /learningRateKl: expected more than one/,
    );
  });
});

// Every method is resumed in test/e2e/resume.test.ts; here are the parts of a run that few settings reach.
it('grpo with resampling, curriculum and controllers resumes bit for bit', async () => {
  const short = {
    ...{ iterations: 5, miniBatchSize: 16, completionsPerPrompt: 4, resamplingRounds: 5, updateEpochs: 2 },
    ...{ curriculum: 'success', curriculumSuccess: 0.1 },
    ...{ lengthTarget: 4, entropyTarget: 2, learningRateKl: 0.01 },
  };
  const straight = await run('grpo', short);
  expect(straight.records.slice(0, 3).some((record) => record['sampling/resampled_share']! > 0)).toBe(true);
  const stopped = await run('grpo', short, { stopAfter: 3 });
  const resumed = await run('grpo', short, { resume: stopped.saved! });
  expect(Buffer.from(resumed.weights.slice().buffer)).toEqual(Buffer.from(straight.weights.slice().buffer));
  const apartFromSpeed = ({ eps: _, ...record }: MetricRecord): MetricRecord => record;
  expect(resumed.records.map(apartFromSpeed)).toEqual(straight.records.slice(3).map(apartFromSpeed));
});

it('a scorer that fails in the middle loses nothing: the run goes on from the iteration before it, bit for bit', async () => {
  const short = {
    ...{ iterations: 5, miniBatchSize: 16, completionsPerPrompt: 4, resamplingRounds: 5 },
    ...{ curriculum: 'success', curriculumSuccess: 0.1 },
  };
  const straight = await run('grpo', short);
  let calls = 0;
  const failing: ScoreFunction = (item) => {
    if (++calls > 130) throw new Error('the judge has gone');
    return shareOfGood(item);
  };
  const saved: SavedRun[] = [];
  await expect(run('grpo', short, { score: failing, onSave: (state) => saved.push(state) })).rejects.toThrow(
    /the judge has gone/,
  );
  expect(saved).toHaveLength(1);
  const done = saved[0]!.state.step;
  expect(done).toBeGreaterThan(1);
  const resumed = await run('grpo', short, { resume: saved[0]! });
  expect(resumed.records).toHaveLength(5 - done);
  expect(Buffer.from(resumed.weights.slice().buffer)).toEqual(Buffer.from(straight.weights.slice().buffer));

  // Nothing to save before the first iteration.
  const first: SavedRun[] = [];
  const never: ScoreFunction = () => {
    throw new Error('no judge');
  };
  await expect(run('grpo', short, { score: never, onSave: (state) => first.push(state) })).rejects.toThrow(
    /no judge/,
  );
  expect(first).toHaveLength(0);
});
