/** Preference pairs against a frozen reference: the skeleton of DPO and its relatives. */
import { ConfigError } from '../../core/errors.ts';
import { stopGradient } from '../../graph/ops/control.ts';
import { cast, greater, mul, sub } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { columnsOf, type TokenExample, type TokenInputs, tokenArrays, tokenTypes } from '../batch.ts';
import { batchLogProbs } from '../logprob.ts';
import { type Divergence, divergences, type PairLoss, type PairScores } from '../loss/preference.ts';
import type { TrainStep } from './train-step.ts';

/** A preference with the reference's opinion of it. */
export interface PairExample {
  readonly chosen: TokenExample;
  readonly rejected: TokenExample;
  /** log π_ref of each completion, nats, summed over its tokens. */
  readonly reference?: { readonly chosen: number; readonly rejected: number };
}

export interface PairwiseStepOptions {
  /** Scale of the implicit rewards β·log(π/π_ref) that are reported. */
  readonly beta: number;
  /** Loss per pair from its scores. */
  readonly loss: PairLoss;
  /** Makes a score of log π/π_ref; the log-ratio itself when left out. */
  readonly divergence?: Divergence;
  /** Divides the logits: log-probabilities are those of the distribution that was sampled; 1 when left out. */
  readonly temperature?: number;
}

/** Rows of a micro-batch: all chosen completions, then all rejected ones. Metrics as TRL's DPO trainer names them. */
export function pairwiseStep({
  beta,
  loss,
  divergence = divergences.reverseKl,
  temperature = 1,
}: PairwiseStepOptions): TrainStep<PairExample> {
  return {
    columns: ({ chosen, rejected }) => columnsOf(Math.max(chosen.ids.length, rejected.ids.length)),
    weight: () => 1,
    tokens: ({ chosen, rejected }) => chosen.ids.length + rejected.ids.length,
    types: (rows, columns) => ({
      ...tokenTypes(2 * rows, columns, false),
      referenceChosen: { dtype: 'float32', shape: [rows] },
      referenceRejected: { dtype: 'float32', shape: [rows] },
      pairs: { dtype: 'float32', shape: [rows] },
    }),
    arrays(examples, rows, columns) {
      const empty: TokenExample = { ids: [], mask: [] };
      const padding = new Array<TokenExample>(rows - examples.length).fill(empty);
      const sequences = [
        ...examples.map((pair) => pair.chosen),
        ...padding,
        ...examples.map((pair) => pair.rejected),
      ];
      const referenceChosen = new Float32Array(rows);
      const referenceRejected = new Float32Array(rows);
      examples.forEach((pair, row) => {
        if (pair.reference === undefined) throw missingReference();
        referenceChosen[row] = pair.reference.chosen;
        referenceRejected[row] = pair.reference.rejected;
      });
      const pairs = new Float32Array(rows).fill(1, 0, examples.length);
      return {
        ...tokenArrays(sequences, 2 * rows, columns, false),
        referenceChosen,
        referenceRejected,
        pairs,
      };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const { referenceChosen, referenceRejected, pairs } = inputs as unknown as PairInputs;
      const batch = inputs as unknown as TokenInputs;
      const { logProbs, entropy, correct, meanLogits } = batchLogProbs(model, weights, batch, {
        rematerialize,
        temperature,
      });
      const rows = pairs.shape[0]!;
      const chosenHalf = (x: Tensor): Tensor => sliceAxis(x, 0, 0, rows);
      const rejectedHalf = (x: Tensor): Tensor => sliceAxis(x, 0, rows, 2 * rows);
      const sequence = sum(mul(logProbs, batch.mask), { axes: 1 }); // [2·rows]
      const chosen = chosenHalf(sequence);
      const rejected = rejectedHalf(sequence);
      const lengths = sum(batch.mask, { axes: 1 });
      const pairScores: PairScores = {
        chosen: divergence(sub(chosen, referenceChosen)),
        rejected: divergence(sub(rejected, referenceRejected)),
        chosenLength: chosenHalf(lengths),
        rejectedLength: rejectedHalf(lengths),
      };
      const rewardChosen = mul(stopGradient(sub(chosen, referenceChosen)), beta);
      const rewardRejected = mul(stopGradient(sub(rejected, referenceRejected)), beta);
      const overPairs = (x: Tensor): Tensor => sum(mul(x, pairs));
      const overLabels = (x: Tensor, half: (x: Tensor) => Tensor): Tensor =>
        sum(mul(half(x), half(batch.mask)));
      return {
        loss: overPairs(loss(pairScores)),
        sums: {
          pairs: sum(pairs),
          labelsChosen: sum(chosenHalf(batch.mask)),
          labelsRejected: sum(rejectedHalf(batch.mask)),
          rewardsChosen: overPairs(rewardChosen),
          rewardsRejected: overPairs(rewardRejected),
          accurate: overPairs(cast(greater(rewardChosen, rewardRejected), 'float32')),
          logpsChosen: overPairs(chosen),
          logpsRejected: overPairs(rejected),
          logitsChosen: overLabels(meanLogits, chosenHalf),
          logitsRejected: overLabels(meanLogits, rejectedHalf),
          entropy: sum(mul(entropy, batch.mask)),
          correctChosen: overLabels(correct, chosenHalf),
        },
      };
    },
    summarize(totals) {
      const total = (name: string): number => totals[name] ?? 0;
      const pairs = Math.max(total('pairs'), 1);
      const labelsChosen = Math.max(total('labelsChosen'), 1);
      const labelsRejected = Math.max(total('labelsRejected'), 1);
      return {
        'rewards/chosen': total('rewardsChosen') / pairs,
        'rewards/rejected': total('rewardsRejected') / pairs,
        'rewards/accuracies': total('accurate') / pairs,
        'rewards/margins': (total('rewardsChosen') - total('rewardsRejected')) / pairs,
        'logps/chosen': total('logpsChosen') / pairs,
        'logps/rejected': total('logpsRejected') / pairs,
        'logits/chosen': total('logitsChosen') / labelsChosen,
        'logits/rejected': total('logitsRejected') / labelsRejected,
        entropy: total('entropy') / (labelsChosen + labelsRejected),
        mean_token_accuracy: total('correctChosen') / labelsChosen,
      };
    },
  };
}

interface PairInputs {
  readonly referenceChosen: Tensor; // [rows]
  readonly referenceRejected: Tensor; // [rows]
  readonly pairs: Tensor; // [rows], 1 = a real pair
}

function missingReference(): ConfigError {
  return new ConfigError({
    where: 'pairwiseStep',
    expected: 'pairs with reference log-probabilities',
    received: 'a pair without',
    fix: 'Score the pairs with the reference model before training',
  });
}
