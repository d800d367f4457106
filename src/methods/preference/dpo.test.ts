import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, points } from '../../../test/support/gradient-check.ts';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createInterpreter } from '../../engine/interpreter.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { full } from '../../graph/ops/elementwise.ts';
import { trace } from '../../graph/program.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { adamW } from '../../optim/optimizer.ts';
import { sequenceLogProbs } from '../../parts/reference.ts';
import type { PairExample } from '../../parts/step/pairwise.ts';
import { type MetricRecord, train } from '../../parts/trainer/trainer.ts';
import { config, dpo, loss } from './dpo.ts';

/** The method's loss of a margin: the rejected completion scores 0. */
function lossOf(beta: number, labelSmoothing: number, more: Readonly<Record<string, unknown>> = {}) {
  const settings = config.parse({ model: '', data: '', beta, labelSmoothing, ...more });
  return (margin: Tensor): Tensor => {
    const of = (value: number): Tensor => full(margin.shape, value);
    return loss(settings)({ chosen: margin, rejected: of(0), chosenLength: of(3), rejectedLength: of(4) });
  };
}

describe('dpo loss', () => {
  const at = async (margin: number, beta: number, smoothing: number): Promise<number> => {
    const program = trace({}, () => ({ y: lossOf(beta, smoothing)(full([1], margin)) }));
    const { y } = await (await createInterpreter().compile(program)).run({});
    return Number(y!.data[0]);
  };
  // Constants of a graph are float32, β = 0.1 among them: 5e-8, far below the distance to any wrong sign or mean.
  it('is the values derived by hand: h = 2, β = 0.1: −log σ(0.2) = 0.5981388694; with ε = 0.1: 0.6181388694', async () => {
    expect(await at(2, 0.1, 0)).toBeCloseTo(0.5981388694, 7);
    expect(await at(2, 0.1, 0.1)).toBeCloseTo(0.6181388694, 7);
    expect(await at(0, 0.1, 0)).toBeCloseTo(Math.LN2, 12);
  });
  it('swapping a pair flips the margin: loss(−h) − loss(h) = βh without smoothing', async () => {
    expect((await at(-3, 0.5, 0)) - (await at(3, 0.5, 0))).toBeCloseTo(1.5, 9);
  });
  it('has the gradient −β σ(−βh), also at ±10⁴', async () => {
    await checkGradient((h) => lossOf(0.3, 0.1)(h), [points([5])]);
    await checkGradient((h) => lossOf(0.3, 0)(h), [{ shape: [2], data: [1e4, -1e4] }], { tolerance: 1e-5 });
  });
});

describe('dpo losses by name', () => {
  it('are added with their weights', async () => {
    const at = async (more: Readonly<Record<string, unknown>>): Promise<number> => {
      const program = trace({}, () => ({ y: lossOf(0.1, 0.1, more)(full([1], 2)) }));
      const { y } = await (await createInterpreter().compile(program)).run({});
      return Number(y!.data[0]);
    };
    // β 0.1, h = 2: hinge 0.8, robust with ε 0.1 0.5731388694.
    expect(await at({ loss: ['hinge'] })).toBeCloseTo(0.8, 6);
    expect(await at({ loss: ['robust'] })).toBeCloseTo(0.5731388694, 6);
    expect(await at({ loss: ['hinge', 'robust'], lossWeights: [2, 0.5] })).toBeCloseTo(1.6 + 0.2865694347, 6);
  });

  it('refuse weights that do not fit, and exo_pair without smoothing', () => {
    expect(() => lossOf(0.1, 0, { loss: ['hinge'], lossWeights: [1, 2] })(full([1], 2))).toThrow(
      /--loss-weights: expected 1 numbers, one per loss, received 2/,
    );
    expect(() => lossOf(0.1, 0, { loss: ['exo_pair'] })(full([1], 2))).toThrow(/--label-smoothing 0\.001/);
  });
});

describe('dpo', () => {
  const engine = createOrtEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  /** Pairs over a vocabulary of 24: chosen answers hold token 10 where rejected ones hold token 11. */
  function pairs(count: number, seed: number, flipped: (row: number) => boolean): PairExample[] {
    const rng = createRng(seed);
    return Array.from({ length: count }, (_, row) => {
      const prompt = [1, 12 + rng.integer(10, row, 0), 12 + rng.integer(10, row, 1)];
      const answer = (mark: number): PairExample['chosen'] => ({
        ids: [...prompt, mark, 12 + rng.integer(10, row, 2), 2],
        mask: [0, 0, 0, 1, 1, 1],
      });
      return flipped(row)
        ? { chosen: answer(11), rejected: answer(10) }
        : { chosen: answer(10), rejected: answer(11) };
    });
  }

  async function heldOutAccuracy(training: PairExample[]): Promise<MetricRecord> {
    const { model, parameters } = tinyModel(4);
    const heldOut = pairs(64, 99, () => false);
    const scored = async (list: PairExample[]): Promise<PairExample[]> => {
      const sequences = list.flatMap(({ chosen, rejected }) => [chosen, rejected]);
      const scores = await sequenceLogProbs(sequences, {
        engine,
        model,
        parameters,
        batchSize: 64,
        bucket: 8,
      });
      return list.map((pair, i) => ({
        ...pair,
        reference: { chosen: scores[2 * i]!, rejected: scores[2 * i + 1]! },
      }));
    };
    const examples = await scored(training);
    const evaluation = await scored(heldOut);
    const settings = config.parse({ model: '', data: '', beta: 0.5 });
    const result = await train({
      engine,
      model,
      parameters,
      step: dpo.build(settings),
      examples,
      evaluation,
      optimizer: adamW({ size: parameters.flat.length }),
      schedule: () => 3e-3,
      settings: {
        batchSize: 32,
        microBatchSize: 32,
        evaluationBatchSize: 64,
        totalSteps: 20,
        shuffle: true,
        maxGradNorm: 1,
        bucket: 8,
        logEvery: 20,
        evaluateEvery: 0,
        saveEvery: 0,
        gradientCheckpointing: false,
      },
      rng: createRng(1),
      clock: () => 0,
      hooks: { log: () => {}, progress: () => {}, save: async () => {}, interrupted: () => false },
    });
    return result.evaluation;
  }

  it('learns a preference that holds on new prompts; with labels flipped at random it does not', async () => {
    const learned = await heldOutAccuracy(pairs(128, 7, () => false));
    expect(learned['eval_rewards/accuracies']).toBeGreaterThan(0.95);
    expect(learned['eval_rewards/margins']).toBeGreaterThan(1);
    const coin = createRng(3);
    const shuffled = await heldOutAccuracy(pairs(128, 7, (row) => coin.uniform(row) < 0.5));
    expect(Math.abs(shuffled['eval_rewards/margins']!)).toBeLessThan(0.5 * learned['eval_rewards/margins']!);
  });
});
