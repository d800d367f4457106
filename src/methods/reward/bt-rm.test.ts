import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { toRows } from '../../data/index.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { adamW } from '../../optim/optimizer.ts';
import type { RewardPair } from '../../parts/step/reward-model.ts';
import { type MetricRecord, train } from '../../parts/trainer/trainer.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import { btRm, config } from './bt-rm.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** Pairs over a vocabulary of 24: the better answer holds token 10 somewhere, the worse one token 11. */
function pairs(count: number, seed: number, flipped: (row: number) => boolean = () => false): RewardPair[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const length = 3 + rng.integer(5, row, 0);
    const place = rng.integer(length, row, 1);
    const answer = (mark: number): { ids: number[] } => ({
      ids: [
        1,
        ...Array.from({ length }, (_, t) => (t === place ? mark : 12 + rng.integer(10, row, 2, t))),
        2,
      ],
    });
    return flipped(row)
      ? { chosen: answer(11), rejected: answer(10) }
      : { chosen: answer(10), rejected: answer(11) };
  });
}

async function heldOut(
  training: RewardPair[],
  overrides: Record<string, unknown> = {},
): Promise<MetricRecord> {
  const { model, parameters } = scoreModelFrom(tinyModel(4), { rng: createRng(1) });
  const result = await train({
    ...{ engine, model, parameters, examples: training, evaluation: pairs(64, 99) },
    step: btRm.build(config.parse({ model: '', data: '', ...overrides })),
    optimizer: adamW({ size: parameters.flat.length }),
    schedule: () => 3e-3,
    settings: {
      ...{ batchSize: 32, microBatchSize: 16, evaluationBatchSize: 48, totalSteps: 40, shuffle: true },
      ...{ maxGradNorm: 1, bucket: 8, logEvery: 10, evaluateEvery: 0, saveEvery: 0 },
      gradientCheckpointing: false,
    },
    rng: createRng(1),
    clock: () => 0,
    hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
  });
  return result.evaluation;
}

describe('bt-rm', () => {
  it('learns a preference that holds on new pairs; with labels flipped at random it does not', async () => {
    const learned = await heldOut(pairs(128, 7));
    expect(learned['eval_accuracy']).toBeGreaterThan(0.95);
    expect(learned['eval_margin']).toBeGreaterThan(1);
    expect(learned['eval_min_reward']).toBeLessThan(learned['eval_mean_reward']!);
    expect(learned['eval_max_reward']).toBeGreaterThan(learned['eval_mean_reward']!);
    const coin = createRng(3);
    const shuffled = await heldOut(pairs(128, 7, (row) => coin.uniform(row) < 0.5));
    expect(Math.abs(shuffled['eval_margin']!)).toBeLessThan(0.5 * learned['eval_margin']!);
  });

  it('keeps scores around 0 when they are centered', async () => {
    const centered = await heldOut(pairs(128, 7), { centerRewardsCoefficient: 0.1 });
    const free = await heldOut(pairs(128, 7));
    expect(Math.abs(centered['eval_mean_reward']!)).toBeLessThan(0.2);
    expect(centered['eval_accuracy']).toBeGreaterThan(0.95);
    expect(Math.abs(free['eval_mean_reward']!)).toBeGreaterThan(Math.abs(centered['eval_mean_reward']!));
  });

  it('reads margins from the rows and refuses a negative one', () => {
    const tokenizer = trainBpe(['one two three four'], {
      vocabSize: 270,
      specialTokens: { bos: '<s>', eos: '</s>' },
    });
    const context = { config: config.parse({ model: '', data: '' }), tokenizer, model: tinyModel().model };
    const row = { prompt: 'one', chosen: ' two', rejected: ' three' };
    const { examples } = btRm.encode(toRows([{ ...row, margin: 2 }, row]), context);
    expect(examples.map(({ margin }) => margin)).toEqual([2, 0]);
    expect(Array.from(examples[0]!.chosen.ids).at(-1)).toBe(tokenizer.eosId);
    expect(() => btRm.encode(toRows([{ ...row, margin: -1 }]), context)).toThrow(
      /row 1: margin: expected a number of 0 or more, received -1/,
    );
  });
});
