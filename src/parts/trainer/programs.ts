/** The two programs of a step: loss with gradients, and loss alone. */
import { sizeOf } from '../../core/shapes.ts';
import type { Engine, Executable } from '../../engine/engine.ts';
import { createProgramCache } from '../../engine/program-cache.ts';
import { gradients } from '../../graph/gradient.ts';
import { mul } from '../../graph/ops/elementwise.ts';
import { optimize } from '../../graph/optimize.ts';
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
 * Program of a micro-batch: inputs are the weights, the batch and, with gradients, `scale` and what the model needs in
 * training; outputs are `sum:…` and, with gradients, `gradient:<parameter>` of scale · loss for all that is not frozen.
 */
export function stepProgram<E>(
  model: CausalModel,
  step: TrainStep<E>,
  rows: number,
  columns: number,
  options: { readonly withGradients: boolean; readonly rematerialize: boolean },
): Program {
  const training = options.withGradients ? model.training : undefined;
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    ...step.types(rows, columns),
    ...training?.types(tokensOf(step, rows, columns)),
    ...(options.withGradients ? { scale: { dtype: 'float32' as const, shape: [] } } : {}),
  };
  return trace(types, (inputs) => {
    const weights = Object.fromEntries(model.parameters.map(({ name }) => [name, inputs[name]!]));
    const policy = { model: training?.model(inputs) ?? model, weights, rematerialize: options.rematerialize };
    const { loss, sums } = step.trace(policy, inputs);
    const outputs = Object.fromEntries(
      Object.entries({ loss, ...sums }).map(([name, tensor]) => [sumPrefix + name, tensor]),
    );
    if (!options.withGradients) return outputs;
    const names = model.parameters.filter(({ frozen }) => frozen !== true).map(({ name }) => name);
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

/** The program of an update as the engine runs it, for estimates. */
export const updateProgram = <E>(
  model: CausalModel,
  step: TrainStep<E>,
  rows: number,
  columns: number,
  rematerialize: boolean,
): Program => optimize(stepProgram(model, step, rows, columns, { withGradients: true, rematerialize }));

/** Tokens of a forward pass over a micro-batch, B·T. */
function tokensOf<E>(step: TrainStep<E>, rows: number, columns: number): number {
  return sizeOf(step.types(rows, columns).ids?.shape ?? [0]);
}

/** Which micro-batch of which optimizer step: what random numbers of the training form depend on. */
export interface MicroBatchIndex {
  readonly step: number;
  readonly microBatch: number;
}

/** Runs micro-batches of one step, with programs cached by their shape. */
export interface StepRunner<E> {
  /** Adds the gradient of loss · scale over a micro-batch to `into` (overwrites it with the first); returns its sums. */
  accumulate(batch: MicroBatch<E>, scale: number, into: Parameters, at: MicroBatchIndex): Promise<Totals>;
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
    at?: MicroBatchIndex,
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
        ...(at === undefined
          ? {}
          : model.training?.arrays(tokensOf(step, batch.rows, batch.columns), at.step, at.microBatch)),
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
    async accumulate(batch, scale, into, at) {
      if (at.microBatch === 0) return run(batch, scale, into, at);
      scratch ??= parameters.like();
      const totals = await run(batch, scale, scratch, at);
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
