import { afterAll, describe, expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { adamW } from '../../optim/optimizer.ts';
import { sigmoidLoss } from '../loss/preference.ts';
import { type PairExample, pairwiseStep } from '../step/pairwise.ts';
import { supervisedStep } from '../step/supervised.ts';
import type { TrainStep } from '../step/train-step.ts';
import { type MetricRecord, type TrainerSettings, type TrainerState, train } from './trainer.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

const settings: TrainerSettings = {
  batchSize: 6,
  microBatchSize: 6,
  evaluationBatchSize: 4,
  totalSteps: 5,
  shuffle: true,
  maxGradNorm: 1,
  bucket: 4,
  logEvery: 1,
  evaluateEvery: 0,
  saveEvery: 0,
  gradientCheckpointing: false,
};

interface Run {
  readonly records: MetricRecord[];
  readonly weights: Float32Array;
  readonly saved: TrainerState[];
  readonly outcome: string;
}

async function run<E>(
  step: TrainStep<E>,
  examples: readonly E[],
  overrides: Partial<TrainerSettings> = {},
  more: {
    resume?: TrainerState;
    weights?: Float32Array;
    stopAfter?: number;
    learningRate?: number;
    evaluation?: E[];
  } = {},
): Promise<Run> {
  const { model, parameters } = tinyModel();
  if (more.weights !== undefined) parameters.flat.set(more.weights);
  const records: MetricRecord[] = [];
  const saved: TrainerState[] = [];
  let taken = 0;
  const result = await train({
    engine,
    model,
    parameters,
    step,
    examples,
    evaluation: more.evaluation ?? [],
    optimizer: adamW({ size: parameters.flat.length, weightDecay: 0.01 }),
    schedule: () => more.learningRate ?? 0.01,
    settings: { ...settings, ...overrides },
    rng: createRng(5),
    clock: () => 0,
    hooks: {
      log: (record) => void records.push(record),
      progress: () => void taken++,
      async save(state) {
        const moments = Object.fromEntries(
          Object.entries(state.optimizer.moments).map(([k, v]) => [k, v.slice()]),
        );
        saved.push({ ...state, optimizer: { ...state.optimizer, moments } });
      },
      interrupted: () => taken === more.stopAfter,
    },
    ...(more.resume === undefined ? {} : { resume: more.resume }),
  });
  return { records, weights: parameters.flat.slice(), saved, outcome: result.outcome };
}

const sft = supervisedStep({ aggregation: 'token-mean', packed: false });
const dpo = pairwiseStep({
  beta: 0.5,
  loss: sigmoidLoss({ beta: 0.5, labelSmoothing: 0.1 }),
});
const pairs = (count: number): PairExample[] => {
  const [chosen, rejected] = [tinyExamples(count, 3), tinyExamples(count, 4)];
  return chosen.map((example, i) => ({
    chosen: example,
    rejected: rejected[i]!,
    reference: { chosen: -20 - i, rejected: -22 + i },
  }));
};

const worst = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

describe.each([
  ['sft, token mean', sft as TrainStep<unknown>, tinyExamples(14) as unknown[]],
  [
    'sft, sequence mean',
    supervisedStep({ aggregation: 'sequence-mean-token-mean', packed: false }) as TrainStep<unknown>,
    tinyExamples(14) as unknown[],
  ],
  ['dpo', dpo as TrainStep<unknown>, pairs(14) as unknown[]],
])('train (%s)', (_name, step, examples) => {
  // Adam's first steps are signs of gradients, so rounding can grow; 5e-5 is 200 times below one step of 0.01.
  it('does not depend on how a batch is cut into micro-batches', async () => {
    const whole = await run(step, examples);
    const cut = await run(step, examples, { microBatchSize: 2 });
    const single = await run(step, examples, { microBatchSize: 1, bucket: 16 });
    expect(worst(whole.weights, cut.weights)).toBeLessThan(5e-5);
    expect(worst(whole.weights, single.weights)).toBeLessThan(5e-5);
    whole.records.forEach((record, i) => {
      expect(cut.records[i]!.loss).toBeCloseTo(record.loss!, 5);
      expect(cut.records[i]!.grad_norm).toBeCloseTo(record.grad_norm!, 4);
    });
  });

  it('stopped at step 3 and resumed, gives the bytes of the uninterrupted run', async () => {
    const straight = await run(step, examples);
    const stopped = await run(step, examples, {}, { stopAfter: 3 });
    expect(stopped.outcome).toBe('interrupted');
    expect(stopped.saved[0]!.step).toBe(3);
    const resumed = await run(step, examples, {}, { resume: stopped.saved[0]!, weights: stopped.weights });
    expect(Buffer.from(resumed.weights.buffer).equals(Buffer.from(straight.weights.buffer))).toBe(true);
    expect(resumed.records).toEqual(straight.records.slice(3));
  });

  it('gives the same run from the same seed, and the same gradients with layers computed again', async () => {
    const first = await run(step, examples);
    const second = await run(step, examples);
    expect(second.records).toEqual(first.records);
    const remat = await run(step, examples, { gradientCheckpointing: true });
    expect(worst(first.weights, remat.weights)).toBeLessThan(5e-5);
  });

  it('lowers the loss', async () => {
    const { records } = await run(step, examples, { totalSteps: 40, batchSize: 14, microBatchSize: 14 });
    expect(records.at(-1)!.loss).toBeLessThan(0.8 * records[0]!.loss!);
  });
});

describe('train', () => {
  it('starts DPO at ln 2 when the policy is the reference', async () => {
    const { model, parameters } = tinyModel();
    const { sequenceLogProbs } = await import('../reference.ts');
    const raw = pairs(6);
    const options = { engine, model, parameters, batchSize: 4, bucket: 4 };
    const chosen = await sequenceLogProbs(
      raw.map((pair) => pair.chosen),
      options,
    );
    const rejected = await sequenceLogProbs(
      raw.map((pair) => pair.rejected),
      options,
    );
    const examples = raw.map((pair, i) => ({
      ...pair,
      reference: { chosen: chosen[i]!, rejected: rejected[i]! },
    }));
    const { records } = await run(
      pairwiseStep({ beta: 0.1, loss: sigmoidLoss({ beta: 0.1, labelSmoothing: 0 }) }),
      examples,
      { totalSteps: 1 },
    );
    expect(records[0]!.loss).toBeCloseTo(Math.LN2, 5);
    expect(records[0]!['rewards/margins']).toBeCloseTo(0, 5);
  });

  it('evaluates before and after, with prefixed names', async () => {
    const { records } = await run(
      sft,
      tinyExamples(12),
      { totalSteps: 2 },
      { evaluation: tinyExamples(5, 9) },
    );
    const evaluations = records.filter((record) => 'eval_loss' in record);
    expect(evaluations.map((record) => record.step)).toEqual([0, 2]);
    expect(evaluations[0]!.eval_loss).toBeGreaterThan(2);
    expect(evaluations[0]).toHaveProperty('eval_mean_token_accuracy');
  });

  it('stops at the first step whose numbers are not finite and names the tensor', async () => {
    const weights = tinyModel().parameters;
    weights.view('model.layers.1.mlp.up_proj.weight')[3] = Number.NaN;
    await expect(run(sft, tinyExamples(12), {}, { weights: weights.flat })).rejects.toThrow(
      /step 1: .*weight "model\.layers\.1\.mlp\.up_proj\.weight" is not finite/,
    );
    await expect(run(sft, tinyExamples(12), { maxGradNorm: 0 }, { learningRate: 1e30 })).rejects.toThrow(
      /step [23]: expected finite/,
    );
  });

  it('packed rows have the loss of the rows apart', async () => {
    const [a, b] = tinyExamples(2);
    const segments = [...Array(a!.ids.length).fill(1), ...Array(b!.ids.length).fill(2)];
    const positions = [...Array(a!.ids.length).keys(), ...Array(b!.ids.length).keys()];
    const packed = {
      ids: [...Array.from(a!.ids), ...Array.from(b!.ids)],
      mask: [...Array.from(a!.mask), ...Array.from(b!.mask)],
      segments,
      positions,
    };
    const one = { totalSteps: 1, batchSize: 2, microBatchSize: 2 };
    const apart = await run(sft, [a!, b!], one);
    const together = await run(supervisedStep({ aggregation: 'token-mean', packed: true }), [packed], one);
    expect(together.records[0]!.loss).toBeCloseTo(apart.records[0]!.loss!, 6);
    expect(together.records[0]!.grad_norm).toBeCloseTo(apart.records[0]!.grad_norm!, 5);
    const leaky = await run(sft, [{ ids: packed.ids, mask: packed.mask }], one);
    expect(Math.abs(leaky.records[0]!.loss! - apart.records[0]!.loss!)).toBeGreaterThan(1e-3);
  });
});

describe('train to the best evaluation', () => {
  // Rows of noise: what is learned of the training rows soon hurts on others.
  const held = { evaluation: tinyExamples(6, 9), learningRate: 0.03 };
  const overrides = { evaluateEvery: 1, totalSteps: 30 };
  const best = { metric: 'loss', greaterIsBetter: false, patience: 0 };
  const losses = (records: readonly MetricRecord[]): number[] =>
    records.flatMap(({ eval_loss: loss }) => (loss === undefined ? [] : [loss]));

  it('ends with the weights of the best evaluation and says which that was', async () => {
    const { records, weights } = await run(sft, tinyExamples(14), { ...overrides, best }, held);
    const { best_step: step, best_metric: value } = records.at(-1)!;
    const seen = losses(records);
    expect(value).toBe(Math.min(...seen));
    expect(seen.indexOf(value!)).toBe(step); // the evaluation before training is that of step 0
    expect(step).toBeGreaterThan(0);
    expect(step).toBeLessThan(30);
    const short = await run(sft, tinyExamples(14), { ...overrides, totalSteps: step! }, held);
    expect(weights).toEqual(short.weights);
  });

  it('stops after as many evaluations without a new best as it is patient', async () => {
    const { records } = await run(
      sft,
      tinyExamples(14),
      { ...overrides, best: { ...best, patience: 3 } },
      held,
    );
    const { step, best_step: at } = records.at(-1)!;
    expect(step).toBe(at! + 3);
    expect(step).toBeLessThan(30);
  });

  it('stopped and resumed it decides as uninterrupted', async () => {
    const patient = { ...overrides, best: { ...best, patience: 3 } };
    const straight = await run(sft, tinyExamples(14), patient, held);
    const at = straight.records.at(-1)!.best_step! + 1;
    const stopped = await run(sft, tinyExamples(14), patient, { ...held, stopAfter: at });
    const resumed = await run(sft, tinyExamples(14), patient, {
      ...held,
      resume: stopped.saved[0]!,
      weights: stopped.weights,
    });
    expect(resumed.records.at(-1)).toEqual(straight.records.at(-1));
    expect(resumed.weights).toEqual(straight.weights);
  });

  it('refuses a metric that evaluations do not have', async () => {
    const other = { ...best, metric: 'rewards/accuracies' };
    await expect(run(sft, tinyExamples(14), { ...overrides, best: other }, held)).rejects.toThrow(
      /--best-metric: expected a metric of the evaluation \(eval_loss, .*received rewards\/accuracies/,
    );
  });
});
