/** Completions in steps, each right or wrong: the skeleton of process reward models. */
import { checkShapes } from '../../core/shapes.ts';
import { cast, equal, greater, mul, neg } from '../../graph/ops/elementwise.ts';
import { pick } from '../../graph/ops/indexing.ts';
import { logSoftmax, sum } from '../../graph/ops/reduce.ts';
import { reshape, sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { CausalModel, Weights } from '../../models/causal-model.ts';
import { SCORE_WEIGHT } from '../../models/score-model.ts';
import { linear } from '../../nn/linear.ts';
import type { TrainStep } from './train-step.ts';

/** A sequence, and where its steps end. */
export interface SteppedSequence {
  readonly ids: ArrayLike<number>;
  readonly steps: readonly {
    /** Index of the step's last token. */
    readonly end: number;
    /** Whether the step is right; undefined where it is read but not learned. */
    readonly label?: boolean;
  }[];
}

/** Two logits at every token: wrong and right, [B, T, 2]. */
export function stepLogits(
  model: CausalModel,
  weights: Weights,
  { ids, positions }: { readonly ids: Tensor; readonly positions: Tensor },
  rematerialize = false,
): Tensor {
  const { hidden } = model.forward(weights, { ids, positions, rematerialize });
  return linear(hidden, weights[SCORE_WEIGHT]!);
}

/**
 * −log softmax(logits)[label] where the mask is 1, else 0, nats: a classification of the steps' last tokens.
 *
 * @param logits [B, T, 2]: wrong, right
 * @param labels int64 [B, T], 0 or 1
 * @param mask [B, T], 1 = a step ends here
 * @returns [B, T]
 * @throws ShapeError when the shapes disagree
 * @source Lightman et al. 2023 (arXiv 2305.20050), section 2.6; huggingface/trl 0.24 `PRMTrainer`; the loss of transformers'
 *   `…ForTokenClassification`
 */
export function stepLoss(logits: Tensor, labels: Tensor, mask: Tensor): Tensor {
  checkShapes('stepLoss', { logits: [logits, 'B T 2'], labels: [labels, 'B T'], mask: [mask, 'B T'] });
  return neg(mul(pick(logSoftmax(logits), labels), mask));
}

/** A program's inputs of `rows` × `columns`. */
export const stepTypes = (rows: number, columns: number) => {
  const shape = [rows, columns];
  return { ids: { dtype: 'int64', shape }, positions: { dtype: 'int64', shape } } as const;
};

/** Right-padded ids and positions. */
export function stepArrays(examples: readonly SteppedSequence[], rows: number, columns: number) {
  const ids = new BigInt64Array(rows * columns);
  const positions = BigInt64Array.from(ids, (_, i) => BigInt(i % columns));
  examples.forEach((example, row) => {
    for (let t = 0; t < example.ids.length; t++) ids[row * columns + t] = BigInt(example.ids[t]!);
  });
  return { ids, positions };
}

interface ProcessInputs {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly labels: Tensor;
  readonly mask: Tensor;
}

export function processStep<E extends SteppedSequence = SteppedSequence>(): TrainStep<E> {
  const labelled = ({ steps }: SteppedSequence) => steps.filter(({ label }) => label !== undefined);
  return {
    columns: ({ ids }) => ids.length,
    weight: (example) => labelled(example).length,
    tokens: ({ ids }) => ids.length,
    types: (rows, columns) => ({
      ...stepTypes(rows, columns),
      labels: { dtype: 'int64', shape: [rows, columns] },
      mask: { dtype: 'float32', shape: [rows, columns] },
    }),
    arrays(examples, rows, columns) {
      const labels = new BigInt64Array(rows * columns);
      const mask = new Float32Array(rows * columns);
      examples.forEach((example, row) => {
        for (const { end, label } of labelled(example)) {
          labels[row * columns + end] = label === true ? 1n : 0n;
          mask[row * columns + end] = 1;
        }
      });
      return { ...stepArrays(examples, rows, columns), labels, mask };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const { labels, mask, ...sequences } = inputs as unknown as ProcessInputs;
      const logits = stepLogits(model, weights, sequences, rematerialize);
      const [B, T] = mask.shape as [number, number];
      const of = (label: number): Tensor => reshape(sliceAxis(logits, 2, label, label + 1), [B, T]);
      const right = cast(greater(of(1), of(0)), 'float32');
      const label = cast(labels, 'float32');
      return {
        loss: sum(stepLoss(logits, labels, mask)),
        sums: {
          steps: sum(mask),
          accurate: sum(mul(cast(equal(right, label), 'float32'), mask)),
          positive: sum(mul(label, mask)),
        },
      };
    },
    summarize({ steps = 0, accurate = 0, positive = 0 }) {
      const count = Math.max(steps, 1);
      return { accuracy: accurate / count, positive: positive / count };
    },
  };
}
