/** Scores of pairs of sequences: the skeleton of reward models. */
import { cast, greater, mul, sub, where } from '../../graph/ops/elementwise.ts';
import { max, min, sum } from '../../graph/ops/reduce.ts';
import { concat, reshape, sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { scoreSequences } from '../../models/score-model.ts';
import { type SequenceInputs, sequenceArrays, sequenceTypes } from '../batch.ts';
import type { BradleyTerryInput } from '../loss/bradley-terry.ts';
import type { TrainStep } from './train-step.ts';

/** A preference between two whole sequences. */
export interface RewardPair {
  readonly chosen: { readonly ids: ArrayLike<number> };
  readonly rejected: { readonly ids: ArrayLike<number> };
  /** How much better the chosen one is at least, in units of score; 0 when left out. */
  readonly margin?: number;
}

export interface RewardModelStepOptions {
  /** Loss per pair [B] from the scores [B] of both sides. */
  readonly loss: (scores: Required<BradleyTerryInput>) => Tensor;
  /** Further means over pairs to report, by the name of the metric; each [B]. */
  readonly figures?: (scores: Required<BradleyTerryInput>) => Readonly<Record<string, Tensor>>;
}

/** Rows of a micro-batch: all chosen sequences, then all rejected ones. Metrics as TRL's reward trainer names them. */
export function rewardModelStep({
  loss,
  figures = () => ({}),
}: RewardModelStepOptions): TrainStep<RewardPair> {
  return {
    columns: ({ chosen, rejected }) => Math.max(chosen.ids.length, rejected.ids.length),
    weight: () => 1,
    tokens: ({ chosen, rejected }) => chosen.ids.length + rejected.ids.length,
    types: (rows, columns) => ({
      ...sequenceTypes(2 * rows, columns),
      margin: { dtype: 'float32', shape: [rows] },
      pairs: { dtype: 'float32', shape: [rows] },
    }),
    arrays(examples, rows, columns) {
      const padding = new Array<ArrayLike<number>>(rows - examples.length).fill([0]);
      const sequences = [
        ...examples.map(({ chosen }) => chosen.ids),
        ...padding,
        ...examples.map(({ rejected }) => rejected.ids),
      ];
      const margin = new Float32Array(rows);
      examples.forEach((pair, row) => {
        margin[row] = pair.margin ?? 0;
      });
      const pairs = new Float32Array(rows).fill(1, 0, examples.length);
      return { ...sequenceArrays(sequences, 2 * rows, columns), margin, pairs };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const { margin, pairs } = inputs as unknown as PairInputs;
      const sequences = inputs as unknown as SequenceInputs;
      const scores = scoreSequences(model, weights, sequences, { rematerialize }); // [2·rows, 1]
      const rows = pairs.shape[0]!;
      const half = (start: number): Tensor => reshape(sliceAxis(scores, 0, start, start + rows), [rows]);
      const chosen = half(0);
      const rejected = half(rows);
      const overPairs = (x: Tensor): Tensor => sum(mul(x, pairs));
      const real = greater(concat([pairs, pairs], 0), 0);
      const both = concat([chosen, rejected], 0);
      const read = { chosen, rejected, margin };
      return {
        loss: overPairs(loss(read)),
        sums: {
          pairs: sum(pairs),
          accurate: overPairs(cast(greater(chosen, rejected), 'float32')),
          margin: overPairs(sub(chosen, rejected)),
          chosen: overPairs(chosen),
          rejected: overPairs(rejected),
          lowest: min(where(real, both, Number.POSITIVE_INFINITY)),
          highest: max(where(real, both, Number.NEGATIVE_INFINITY)),
          ...Object.fromEntries(
            Object.entries(figures(read)).map(([name, x]) => [`figure:${name}`, overPairs(x)]),
          ),
        },
      };
    },
    combine: { lowest: Math.min, highest: Math.max },
    summarize(totals) {
      const total = (name: string): number => totals[name] ?? 0;
      const pairs = Math.max(total('pairs'), 1);
      return {
        accuracy: total('accurate') / pairs,
        margin: total('margin') / pairs,
        min_reward: total('lowest'),
        mean_reward: (total('chosen') + total('rejected')) / (2 * pairs),
        max_reward: total('highest'),
        ...Object.fromEntries(
          Object.keys(totals)
            .filter((name) => name.startsWith('figure:'))
            .map((name) => [name.slice('figure:'.length), total(name) / pairs]),
        ),
      };
    },
  };
}

interface PairInputs {
  readonly margin: Tensor; // [rows]
  readonly pairs: Tensor; // [rows], 1 = a real pair
}
