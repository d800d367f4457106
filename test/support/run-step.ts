/** Loss, metrics and gradient norms of one batch in float64, beside recorded ones. */
import { expect } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { mul } from '../../src/graph/ops/elementwise.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import type { LoadedModel } from '../../src/models/checkpoint.ts';
import { createCoupler } from '../../src/parts/step/coupling.ts';
import type { TrainStep } from '../../src/parts/step/train-step.ts';

export interface OnModel {
  readonly loss: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly gradientNorms: Readonly<Record<string, number>>;
}

export async function runStep<E>(
  { model, parameters }: Pick<LoadedModel, 'model' | 'parameters'>,
  step: TrainStep<E>,
  given: readonly E[],
): Promise<OnModel> {
  const engine = createInterpreter();
  const examples = await createCoupler(step.coupling, {
    ...{ engine, model, parameters },
    ...{ batchSize: given.length, bucket: 1 },
  }).complete(given, true);
  const columns = Math.max(...examples.map((one) => step.columns(one)));
  const types: Record<string, TensorType> = { ...step.types(examples.length, columns) };
  for (const { name, shape } of parameters.specs) types[name] = { dtype: 'float32', shape };
  const names = parameters.specs.map(({ name }) => name);
  const program = trace(types, (inputs) => {
    const { loss, sums } = step.trace({ model, weights: inputs, rematerialize: false }, inputs);
    const slopes = gradients(
      loss,
      names.map((name) => inputs[name]!),
    );
    const norms = slopes.map((slope, index) => [`norm of ${names[index]!}`, sum(mul(slope, slope))] as const);
    return { loss, ...sums, ...Object.fromEntries(norms) };
  });
  const outputs = await (await engine.compile(program)).run({
    ...parameters.arrays(),
    ...step.arrays(examples, examples.length, columns),
  });
  const totals = Object.fromEntries(
    Object.entries(outputs).map(([name, tensor]) => [name, Number(tensor.data[0])]),
  );
  const weight = examples.reduce((total, one) => total + step.weight(one), 0);
  return {
    loss: totals.loss! / weight,
    metrics: step.summarize(
      Object.fromEntries(Object.entries(totals).filter(([name]) => !name.startsWith('norm of '))),
    ),
    gradientNorms: Object.fromEntries(
      names.map((name) => [name, Math.sqrt(totals[`norm of ${name}`]!) / weight]),
    ),
  };
}

/** Within `tolerance` of the wanted number, or of 0.1 where that is smaller. */
export function closeTo(given: number | bigint, wanted: number, tolerance: number, name = ''): void {
  const error = Math.abs(Number(given) - wanted) / Math.max(Math.abs(wanted), 0.1);
  expect(error, `${name} ${given} for ${wanted}`).toBeLessThanOrEqual(tolerance);
}

/** 2e-5: the recorded numbers are float32. Metrics in `except` are not compared. */
export function expectSame(given: OnModel, wanted: OnModel, except: RegExp = /^$/): void {
  closeTo(given.loss, wanted.loss, 2e-5, 'loss');
  for (const [name, value] of Object.entries(given.metrics)) {
    if (!except.test(name)) closeTo(value, wanted.metrics[name] ?? Number.NaN, 2e-5, name);
  }
  for (const [name, value] of Object.entries(wanted.gradientNorms))
    closeTo(given.gradientNorms[name]!, value, 2e-5, name);
}
