/** The two programs of a step: loss with gradients, and loss alone. */
import type { Engine, Executable } from '../../engine/engine.ts';
import { createProgramCache } from '../../engine/program-cache.ts';
import { gradients } from '../../graph/gradient.ts';
import { mul } from '../../graph/ops/elementwise.ts';
import { type Program, trace } from '../../graph/program.ts';
import type { TensorType } from '../../graph/tensor.ts';
import { type CausalModel, weightTypes } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { addInto } from '../../optim/optimizer.ts';
import type { MicroBatch } from '../batches.ts';
import type { TrainStep } from '../step/train-step.ts';

/** Sums of one or more micro-batches: `loss` and the step's own. */
export type Totals = Record<string, number>;

const gradientPrefix = 'gradient:';
const sumPrefix = 'sum:';

/**
 * Program of a micro-batch: inputs are the weights, the batch and, with gradients, `scale`; outputs are `sum:…` and,
 * with gradients, `gradient:<parameter>` of scale · loss.
 */
export function stepProgram<E>(
  model: CausalModel,
  step: TrainStep<E>,
  rows: number,
  columns: number,
  options: { readonly withGradients: boolean; readonly rematerialize: boolean },
): Program {
  const names = model.parameters.map(({ name }) => name);
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    ...step.types(rows, columns),
    ...(options.withGradients ? { scale: { dtype: 'float32' as const, shape: [] } } : {}),
  };
  return trace(types, (inputs) => {
    const weights = Object.fromEntries(names.map((name) => [name, inputs[name]!]));
    const { loss, sums } = step.trace({ model, weights, rematerialize: options.rematerialize }, inputs);
    const outputs = Object.fromEntries(
      Object.entries({ loss, ...sums }).map(([name, tensor]) => [sumPrefix + name, tensor]),
    );
    if (!options.withGradients) return outputs;
    const byParameter = gradients(
      mul(loss, inputs.scale!),
      names.map((name) => weights[name]!),
    );
    return {
      ...outputs,
      ...Object.fromEntries(byParameter.map((gradient, index) => [gradientPrefix + names[index], gradient])),
    };
  });
}

/** Runs micro-batches of one step, with programs cached by their shape. */
export interface StepRunner<E> {
  /** Adds the gradient of loss · scale over a micro-batch to `into` (or overwrites it when `first`); returns its sums. */
  accumulate(batch: MicroBatch<E>, scale: number, into: Parameters, first: boolean): Promise<Totals>;
  /** The sums alone. */
  evaluate(batch: MicroBatch<E>): Promise<Totals>;
  dispose(): void;
}

export interface StepRunnerOptions {
  readonly rematerialize: boolean;
  /** Programs kept at once. */
  readonly programLimit: number;
}

export function createStepRunner<E>(
  engine: Engine,
  model: CausalModel,
  parameters: Parameters,
  step: TrainStep<E>,
  options: StepRunnerOptions,
): StepRunner<E> {
  const cache = createProgramCache(engine, { limit: options.programLimit });
  const weights = parameters.arrays();
  let scratch: Parameters | undefined;
  const compiled = (batch: MicroBatch<E>, withGradients: boolean): Promise<Executable> =>
    cache.get(`${withGradients ? 'train' : 'evaluate'} ${batch.rows}×${batch.columns}`, () =>
      stepProgram(model, step, batch.rows, batch.columns, {
        withGradients,
        rematerialize: withGradients && options.rematerialize,
      }),
    );
  const run = async (
    batch: MicroBatch<E>,
    scale: number | undefined,
    target?: Parameters,
  ): Promise<Totals> => {
    const executable = await compiled(batch, scale !== undefined);
    const gradientArrays = Object.fromEntries(
      Object.entries(target?.arrays() ?? {}).map(([name, view]) => [gradientPrefix + name, view]),
    );
    const outputs = await executable.run(
      {
        ...weights,
        ...step.arrays(batch.examples, batch.rows, batch.columns),
        ...(scale === undefined ? {} : { scale: Float32Array.of(scale) }),
      },
      gradientArrays,
    );
    return Object.fromEntries(
      Object.entries(outputs)
        .filter(([name]) => name.startsWith(sumPrefix))
        .map(([name, { data }]) => [name.slice(sumPrefix.length), Number(data[0])]),
    );
  };
  return {
    async accumulate(batch, scale, into, first) {
      if (first) return run(batch, scale, into);
      scratch ??= parameters.like();
      const totals = await run(batch, scale, scratch);
      addInto(into.flat, scratch.flat);
      return totals;
    },
    evaluate: (batch) => run(batch, undefined),
    dispose: () => cache.dispose(),
  };
}

/** Adds the numbers of a part by name, or joins them as the step says. */
export function addTotals(
  into: Totals,
  part: Totals,
  combine: NonNullable<TrainStep<unknown>['combine']> = {},
): void {
  for (const [name, value] of Object.entries(part)) {
    const known = into[name];
    into[name] = known === undefined ? value : (combine[name]?.(known, value) ?? known + value);
  }
}
