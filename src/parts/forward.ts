/** Forward passes of a frozen model over many sequences: one number per token, or one per sequence. */
import type { HostArray } from '../core/host-tensor.ts';
import type { Engine } from '../engine/engine.ts';
import { createProgramCache } from '../engine/program-cache.ts';
import { cast, div, mul, sqrt, square } from '../graph/ops/elementwise.ts';
import { sum } from '../graph/ops/reduce.ts';
import { reshape } from '../graph/ops/shape.ts';
import { trace } from '../graph/program.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';
import { type CausalModel, type Weights, weightTypes } from '../models/causal-model.ts';
import type { Embedder } from '../models/embedder.ts';
import { countedUpTo } from '../models/encoder-score.ts';
import { SCORE_WEIGHT, scoreSequences } from '../models/score-model.ts';
import { valueHead } from '../nn/heads.ts';
import type { Parameters } from '../nn/parameters.ts';
import {
  columnsOf,
  type SequenceInputs,
  sequenceArrays,
  sequenceTypes,
  type TokenExample,
  type TokenInputs,
  tokenArrays,
  tokenTypes,
} from './batch.ts';
import { microBatches } from './batches.ts';
import { batchLogProbs } from './logprob.ts';

export interface ForwardOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Sequences per forward pass. */
  readonly batchSize: number;
  /** Columns are padded to a multiple of this: larger means fewer programs and more padding. */
  readonly bucket: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** A pass that can be run again and again; programs are kept between runs, and weights are read as they are at each run. */
export interface Forward<E> {
  /** Numbers of each example, in order. */
  run(examples: readonly E[]): Promise<Float32Array[]>;
  dispose(): void;
}

/** What tells one kind of pass from another. */
export interface ForwardKind<E> {
  columns(example: E): number;
  types(rows: number, columns: number): Record<string, TensorType>;
  arrays(examples: readonly E[], rows: number, columns: number): Record<string, HostArray>;
  /** [rows, numbers per row] */
  trace(weights: Weights, inputs: Readonly<Record<string, Tensor>>): Tensor;
  /** Numbers of an example that count, from the front of its row; all where it says more than there are. */
  length(example: E): number;
}

/** Programs kept: few lengths occur, and an unused program costs memory. */
const programLimit = 8;

/** A pass of any kind over a model of any kind. */
export function createForward<E>(
  kind: ForwardKind<E>,
  options: Omit<ForwardOptions, 'model'> & { readonly model: Pick<CausalModel, 'parameters'> },
): Forward<E> {
  const { engine, model, parameters, batchSize, bucket, onProgress } = options;
  const cache = createProgramCache(engine, { limit: programLimit });
  const weights = parameters.arrays();
  return {
    async run(examples) {
      const results = new Array<Float32Array>(examples.length);
      const indexed = examples.map((example, index) => ({ example, index }));
      let done = 0;
      const columnsOfItem = ({ example }: { readonly example: E }): number => kind.columns(example);
      for (const { examples: part, rows, columns } of microBatches(
        indexed,
        columnsOfItem,
        batchSize,
        bucket,
      )) {
        const executable = await cache.get(`forward ${rows}×${columns}`, () =>
          trace({ ...weightTypes(model), ...kind.types(rows, columns) }, (inputs) => ({
            out: kind.trace(inputs, inputs),
          })),
        );
        const arrays = kind.arrays(
          part.map(({ example }) => example),
          rows,
          columns,
        );
        const { out } = await executable.run({ ...weights, ...arrays });
        const data = out!.data as Float32Array;
        const width = data.length / rows;
        part.forEach(({ example, index }, row) => {
          results[index] = data.slice(row * width, row * width + Math.min(width, kind.length(example)));
        });
        done += part.length;
        onProgress?.(done, examples.length);
      }
      return results;
    },
    dispose: () => cache.dispose(),
  };
}

/**
 * log π(token t + 1 | tokens up to t), nats: number t of an example is about its token t + 1.
 *
 * @param temperature divides the logits
 */
export function logProbForward(options: ForwardOptions, temperature = 1): Forward<TokenExample> {
  return createForward<TokenExample>(
    {
      columns: ({ ids }) => columnsOf(ids.length),
      types: (rows, columns) => tokenTypes(rows, columns, false),
      arrays: (examples, rows, columns) => tokenArrays(examples, rows, columns, false),
      trace: (weights, inputs) =>
        batchLogProbs(options.model, weights, inputs as unknown as TokenInputs, { temperature }).logProbs,
      length: ({ ids }) => ids.length - 1,
    },
    options,
  );
}

/** How Σ log π over the learned tokens of one sequence per example is read, nats. `of` says which sequence. */
export function sequenceLogProbKind<E>(model: CausalModel, of: (example: E) => TokenExample): ForwardKind<E> {
  return {
    columns: (example) => columnsOf(of(example).ids.length),
    types: (rows, columns) => tokenTypes(rows, columns, false),
    arrays: (examples, rows, columns) => tokenArrays(examples.map(of), rows, columns, false),
    trace(weights, inputs) {
      const batch = inputs as unknown as TokenInputs;
      const { logProbs } = batchLogProbs(model, weights, batch);
      return sum(mul(logProbs, batch.mask), { axes: 1, keepDims: true });
    },
    length: () => 1,
  };
}

/** Values of a score model at every column: number t of an example is the value before its token t + 1. */
export function valueForward(options: ForwardOptions): Forward<TokenExample> {
  return createForward<TokenExample>(
    {
      columns: ({ ids }) => columnsOf(ids.length),
      types: (rows, columns) => tokenTypes(rows, columns, false),
      arrays: (examples, rows, columns) => tokenArrays(examples, rows, columns, false),
      trace: (weights, inputs) => {
        const { ids, positions } = inputs as unknown as TokenInputs;
        const { hidden } = options.model.forward(weights, { ids, positions });
        return valueHead(hidden, weights[SCORE_WEIGHT]!);
      },
      length: ({ ids }) => ids.length - 1,
    },
    options,
  );
}

/** The numbers [A] of a score model for each sequence, read at its last token; a reward model has one. */
export function scoreForward(options: ForwardOptions): Forward<ArrayLike<number>> {
  return createForward<ArrayLike<number>>(
    {
      columns: ({ length }) => length,
      types: sequenceTypes,
      arrays: sequenceArrays,
      trace: (weights, inputs) => scoreSequences(options.model, weights, inputs as unknown as SequenceInputs), // [B, A]
      length: () => Number.POSITIVE_INFINITY,
    },
    options,
  );
}

/** The mean of the final hidden states of a sequence's tokens, at length 1: [D]. */
export function embeddingForward({
  embedder,
  ...options
}: Omit<ForwardOptions, 'model'> & { readonly embedder: Embedder }): Forward<ArrayLike<number>> {
  return createForward<ArrayLike<number>>(
    {
      columns: ({ length }) => length,
      types: sequenceTypes,
      arrays: sequenceArrays,
      trace(weights, inputs) {
        const sequences = inputs as unknown as SequenceInputs;
        const counted = cast(countedUpTo(sequences.last, sequences.ids), 'float32'); // [B, T]
        const [B, T] = counted.shape as [number, number];
        const states = mul(embedder.hidden(weights, sequences), reshape(counted, [B, T, 1]));
        const total = sum(states, { axes: 1 }); // [B, D]
        // The mean and the sum have the same direction.
        return div(total, sqrt(sum(square(total), { axes: 1, keepDims: true })));
      },
      length: () => Number.POSITIVE_INFINITY,
    },
    { ...options, model: embedder },
  );
}

/** Final hidden states of every token of a sequence, [T, D] laid flat. */
export function hiddenForward(options: ForwardOptions): Forward<ArrayLike<number>> {
  return createForward<ArrayLike<number>>(
    {
      columns: ({ length }) => length,
      types: sequenceTypes,
      arrays: sequenceArrays,
      trace: (weights, inputs) => {
        const { ids, positions } = inputs as unknown as SequenceInputs;
        const { hidden } = options.model.forward(weights, { ids, positions }); // [B, T, D]
        const [B, T, D] = hidden.shape as [number, number, number];
        return reshape(hidden, [B, T * D]);
      },
      length: ({ length }) => length * options.model.hiddenSize,
    },
    options,
  );
}
