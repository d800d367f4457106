/** Ratings of completions, several attributes each: the skeleton of reward models that regress. */
import { checkShapes } from '../../core/shapes.ts';
import { abs, mul, square, sub } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { scoreSequences } from '../../models/score-model.ts';
import { type SequenceInputs, sequenceArrays, sequenceTypes } from '../batch.ts';
import type { TrainStep } from './train-step.ts';

/** A sequence with a target per attribute, in the units of the head; undefined where it is not rated. */
export interface RatedSequence {
  readonly ids: ArrayLike<number>;
  readonly ratings: readonly (number | undefined)[];
}

/**
 * Σ mask · (outputs − targets)² per row: divided by the ratings of the batch it is their mean squared error.
 *
 * @param outputs [B, A]
 * @param targets [B, A]; any finite number where the mask is 0
 * @param mask [B, A], 1 = rated
 * @returns [B]
 * @throws ShapeError when the shapes disagree
 * @source Wang et al. 2024, "ArmoRM" (arXiv 2406.12845), eq. 1
 * @example outputs [[1, 3]], targets [[0, 9]], mask [[1, 0]]: [1]
 */
export function ratingLoss(outputs: Tensor, targets: Tensor, mask: Tensor): Tensor {
  checkShapes('ratingLoss', { outputs: [outputs, 'B A'], targets: [targets, 'B A'], mask: [mask, 'B A'] });
  return sum(mul(square(sub(outputs, targets)), mask), { axes: 1 });
}

interface RatingInputs extends SequenceInputs {
  readonly targets: Tensor; // [B, A]
  readonly rated: Tensor; // [B, A], 1 = rated
}

/** @param attributes A: numbers of the head */
export function ratingStep<E extends RatedSequence = RatedSequence>(attributes: number): TrainStep<E> {
  return {
    columns: ({ ids }) => ids.length,
    weight: ({ ratings }) => ratings.filter((rating) => rating !== undefined).length,
    tokens: ({ ids }) => ids.length,
    types: (rows, columns) => ({
      ...sequenceTypes(rows, columns),
      targets: { dtype: 'float32', shape: [rows, attributes] },
      rated: { dtype: 'float32', shape: [rows, attributes] },
    }),
    arrays(examples, rows, columns) {
      const targets = new Float32Array(rows * attributes);
      const rated = new Float32Array(rows * attributes);
      examples.forEach(({ ratings }, row) => {
        ratings.forEach((rating, attribute) => {
          if (rating === undefined) return;
          targets[row * attributes + attribute] = rating;
          rated[row * attributes + attribute] = 1;
        });
      });
      const sequences = examples.map(({ ids }) => ids);
      return { ...sequenceArrays(sequences, rows, columns), targets, rated };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const { targets, rated, ...sequences } = inputs as unknown as RatingInputs;
      const outputs = scoreSequences(model, weights, sequences, { rematerialize });
      return {
        loss: sum(ratingLoss(outputs, targets, rated)),
        sums: {
          ratings: sum(rated),
          distance: sum(mul(abs(sub(outputs, targets)), rated)),
          outputs: sum(mul(outputs, rated)),
        },
      };
    },
    summarize({ ratings = 0, distance = 0, outputs = 0 }) {
      const count = Math.max(ratings, 1);
      return { mae: distance / count, mean_reward: outputs / count };
    },
  };
}
