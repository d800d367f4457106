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
  const reference = tinyModel(4).parameters;
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
  return { result, records, weights: policy.parameters.flat, critic: result.critic.parameters.flat, saved };
}

const lastScores = (records: readonly MetricRecord[]): number =>
  records.slice(-3).reduce((total, record) => total + record['objective/scores']! / 3, 0);

describe('ppo', () => {
  it('learns what is scored; with scores that say nothing of the completion it does not', async () => {
    const learned = await run();
    expect(learned.records[0]!['objective/scores']).toBeLessThan(0.15);
    expect(lastScores(learned.records)).toBeGreaterThan(0.6);
  });
});
