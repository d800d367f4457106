import { afterAll, expect, it } from 'vitest';
import { tinyExamples, tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { trace } from '../graph/program.ts';
import { microBatches } from '../parts/batches.ts';
import { supervisedStep } from '../parts/step/supervised.ts';
import { createStepRunner } from '../parts/trainer/programs.ts';
import type { CausalModel } from './causal-model.ts';
import { attachLora } from './lora-model.ts';
import { withEmbeddingNoise } from './neftune.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const rng = createRng(3);

it('is uniform noise of the stated size, new in each micro-batch and the same for the same place', async () => {
  const [B, T, alpha] = [4, 16, 5];
  let noise: Float64Array[] = [];
  const { model } = tinyModel();
  // A model that shows what its embeddings of 0 become.
  const shown = withEmbeddingNoise(
    { ...model, forward: (_, { embedded, ids }) => ({ hidden: embedded!(zeros(ids.shape)), cache: [] }) },
    alpha,
    rng,
  );
  const { full } = await import('../graph/ops/elementwise.ts');
  function zeros(shape: readonly number[]) {
    return full([...shape, model.hiddenSize], 0);
  }
  const training = shown.training!;
  const program = trace({ ...training.types(B * T), ids: { dtype: 'int64', shape: [B, T] } }, (inputs) => ({
    y: training.model(inputs).forward({}, { ids: inputs.ids!, positions: inputs.ids! }).hidden,
  }));
  const executable = await createInterpreter().compile(program);
  for (const [step, microBatch] of [
    [0, 0],
    [0, 1],
    [1, 0],
    [0, 0],
  ] as const) {
    const ids = new BigInt64Array(B * T);
    const { y } = await executable.run({ ...training.arrays(B * T, step, microBatch), ids });
    noise = [...noise, Float64Array.from(y!.data as Float64Array)];
  }
  const limit = alpha / Math.sqrt(T * model.hiddenSize);
  const [first, ...others] = noise as [Float64Array, ...Float64Array[]];
  const mean = first.reduce((total, x) => total + x, 0) / first.length;
  const square = first.reduce((total, x) => total + x * x, 0) / first.length;
  expect(Math.max(...first.map(Math.abs))).toBeLessThanOrEqual(limit * (1 + 1e-6));
  expect(Math.abs(mean)).toBeLessThan(0.1 * limit); // deviation of a mean of 1024: 0.018 of the limit
  expect(square / limit ** 2).toBeCloseTo(1 / 3, 1);
  expect(others[0]).not.toEqual(first);
  expect(others[1]).not.toEqual(first);
  expect(others[2]).toEqual(first);
});

it('is there in training only, over an adapter too, and alpha 0 is the model itself', async () => {
  const base = tinyModel();
  const adapted = attachLora(base, {
    ...{ r: 2, alpha: 4, dropout: 0, targetModules: 'all-linear', rslora: false, dora: false, bias: 'none' },
    ...{ modulesToSave: [], rankPattern: {}, alphaPattern: {} },
  });
  expect(withEmbeddingNoise(base.model, 0, rng)).toBe(base.model);
  for (const { model, parameters } of [base, adapted]) {
    const losses = async (given: CausalModel): Promise<[number, number]> => {
      const step = supervisedStep({ aggregation: 'token-mean', packed: false });
      const runner = createStepRunner(engine, given, parameters, step, {
        rematerialize: false,
        programLimit: 4,
      });
      const [batch] = microBatches(tinyExamples(4), (example) => step.columns(example), 4, 4);
      const trained = await runner.accumulate(batch!, 1, parameters.like(), { step: 0, microBatch: 0 });
      const evaluated = await runner.evaluate(batch!);
      runner.dispose();
      return [trained.loss!, evaluated.loss!];
    };
    const [plain, noisy] = [await losses(model), await losses(withEmbeddingNoise(model, 5, rng))];
    expect(noisy[1]).toBe(plain[1]);
    expect(Math.abs(noisy[0] - plain[0])).toBeGreaterThan(1e-3);
  }
});
