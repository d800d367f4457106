import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { functionScorer, type ScoreFunction } from '../../parts/scorer/scorer.ts';
import type { MetricRecord, TrainerState } from '../../parts/trainer/trainer.ts';
import { config, type PpoConfig, trainPpo } from './ppo.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const EOS = 5;
const GOOD = 10;
const prompts = Array.from({ length: 12 }, (_, i) => ({ ids: [1, 12 + i], text: `prompt ${i}` }));

/** Share of the completion that is token 10: a policy of random weights gets about 1/24. */
const shareOfGood: ScoreFunction = ({ completionIds }) =>
  Array.from(completionIds).filter((id) => id === GOOD).length / 8;

interface RunOptions {
  readonly score?: ScoreFunction;
  readonly seed?: number;
  readonly stopAfter?: number;
  readonly resume?: { readonly state: TrainerState; readonly weights: Float32Array };
}

async function run(overrides: Partial<PpoConfig> = {}, more: RunOptions = {}) {
  const settings = config.parse({
    ...{ model: '', data: '', rewardModel: '', seed: more.seed ?? 0 },
    ...{ iterations: 30, batchSize: 32, updateEpochs: 4, maxNewTokens: 8, schedule: 'constant' },
    ...{ learningRate: 0.01, klCoefficient: 0.01, ...overrides },
  });
  const policy = tinyModel(4);
  const reference = tinyModel(4);
  if (more.resume !== undefined) policy.parameters.flat.set(more.resume.weights);
  const records: MetricRecord[] = [];
  let saved: { state: TrainerState; weights: Float32Array } | undefined;
  const result = await trainPpo({
    ...{ engine, config: settings, policy, reference, prompts, stopIds: new Set([EOS]) },
    scorer: functionScorer('share of token 10', more.score ?? shareOfGood),
    decode: (ids) => ids.join(' '),
    hooks: {
      log: (record) => void records.push(record),
      interrupted: () => records.length === more.stopAfter,
      async save(state) {
        const copy = (vectors: Readonly<Record<string, Float32Array>>) =>
          Object.fromEntries(Object.entries(vectors).map(([name, data]) => [name, data.slice()]));
        saved = {
          weights: policy.parameters.flat.slice(),
          state: {
            ...state,
            optimizer: { ...state.optimizer, moments: copy(state.optimizer.moments) },
            extra: { numbers: state.extra!.numbers, vectors: copy(state.extra!.vectors) },
          },
        };
      },
    },
    ...(more.resume === undefined ? {} : { resume: more.resume.state }),
  });
  return { result, records, weights: policy.parameters.flat, critic: result.critic!.parameters.flat, saved };
}

const lastScores = (records: readonly MetricRecord[]): number =>
  records.slice(-3).reduce((total, record) => total + record['objective/scores']! / 3, 0);

describe('ppo', () => {
  it('learns what is scored; with the scores given to other completions it does not', async () => {
    const learned = await run();
    expect(learned.records[0]!['objective/scores']).toBeLessThan(0.15);
    expect(lastScores(learned.records)).toBeGreaterThan(0.8);
    // The same scores, but of other completions: what the policy does and what it gets are unrelated.
    const seen: number[] = [];
    const blind = await run(
      {},
      {
        score: (item) => {
          seen.push(Number(shareOfGood(item)));
          return seen.length > 64 ? seen[seen.length - 64]! : 0.1;
        },
      },
    );
    expect(seen.slice(-96).reduce((total, score) => total + score / 96, 0)).toBeLessThan(0.3);
    expect(blind.records).toHaveLength(30);
  });

  it('stays nearer to the reference the more the KL weighs', async () => {
    const klAt = async (klCoefficient: number): Promise<number> =>
      (await run({ klCoefficient, iterations: 15 })).records.at(-1)!['objective/kl']!;
    expect(await klAt(0.5)).toBeLessThan(0.3 * (await klAt(0)));
  });

  it('starts at the reference, with a ratio of 1 and log-probabilities of the sampler exact to 1e-5', async () => {
    const { records } = await run({ iterations: 1, updateEpochs: 1 });
    expect(records[0]!['objective/kl']).toBeCloseTo(0, 5);
    expect(records[0]!['val/ratio']).toBeCloseTo(1, 5);
    expect(records[0]!['policy/clipfrac_avg']).toBe(0);
    expect(records[0]!['sampling/logp_difference']).toBeLessThan(1e-5);
  });

  it('at another temperature the ratio starts at 1 all the same', async () => {
    const { records } = await run({ iterations: 1, updateEpochs: 1, temperature: 0.7 });
    expect(records[0]!['objective/kl']).toBeCloseTo(0, 5);
    expect(records[0]!['val/ratio']).toBeCloseTo(1, 5);
  });

  it('stopped after 3 iterations and resumed, gives the bytes of the uninterrupted run', async () => {
    const short = { iterations: 5, updateEpochs: 2, miniBatchSize: 16, klTarget: 1, klHorizon: 100 };
    const straight = await run(short);
    const stopped = await run(short, { stopAfter: 3 });
    expect(stopped.result.outcome).toBe('interrupted');
    const resumed = await run(short, { resume: stopped.saved! });
    expect(Buffer.from(resumed.weights.slice().buffer)).toEqual(Buffer.from(straight.weights.slice().buffer));
    expect(Buffer.from(resumed.critic.slice().buffer)).toEqual(Buffer.from(straight.critic.slice().buffer));
    const apartFromSpeed = ({ eps: _, ...record }: MetricRecord): MetricRecord => record;
    expect(resumed.records.map(apartFromSpeed)).toEqual(straight.records.slice(3).map(apartFromSpeed));
    expect(straight.records[4]!['objective/kl_coefficient']).not.toBe(0.01);
  });

  it('leaves the policy alone, to the bit, while the critic warms up', async () => {
    const { weights, critic } = await run({ iterations: 2, criticWarmup: 2 });
    expect(weights).toEqual(tinyModel(4).parameters.flat);
    expect(critic.some((value, i) => i >= critic.length - 16 && value !== 0)).toBe(true);
  });

  it('leaves out what cannot be scored, and stops when nothing can', async () => {
    let calls = 0;
    const { records } = await run(
      { iterations: 2 },
      { score: (item) => (calls++ % 4 === 0 ? undefined : shareOfGood(item)) },
    );
    expect(records.map((record) => record['objective/unscored'])).toEqual([8, 8]);
    await expect(run({ iterations: 1 }, { score: () => undefined })).rejects.toThrow(
      /iteration 1: expected at least one completion that can be scored, received 32 that cannot/,
    );
    await expect(run({ iterations: 1 }, { score: () => Number.NaN })).rejects.toThrow(
      /scorer share of token 10, completion 1 .*received NaN/,
    );
  });

  it('takes the penalty off completions that were cut', async () => {
    const { records } = await run({ iterations: 1, missingEosPenalty: 2 }, { score: () => 1 });
    const record = records[0]!;
    expect(record['objective/scores']).toBe(1);
    expect(record['objective/rlhf_reward']).toBeCloseTo(1 - 2 * record['completions/clipped_ratio']!, 5);
  });

  it('refuses sizes that do not fit', async () => {
    await expect(run({ completionsPerPrompt: 5 })).rejects.toThrow(/a divisor of batchSize \(32\)/);
    await expect(run({ maxNewTokens: 63 })).rejects.toThrow(/maxNewTokens: expected at most 62/);
  });
});
