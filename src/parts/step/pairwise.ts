/** Preference pairs: the skeleton of DPO and its relatives, with a frozen reference or without. */
import { ConfigError } from '../../core/errors.ts';
import { stopGradient } from '../../graph/ops/control.ts';
import { div, exp, maximum, mul, neg, sub } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor, TensorType } from '../../graph/tensor.ts';
import { columnsOf, type TokenExample, type TokenInputs, tokenArrays, tokenTypes } from '../batch.ts';
import { batchLogProbs } from '../logprob.ts';
import { type Divergence, divergences, type PairLoss, type PairScores } from '../loss/preference.ts';
import { type FromBatch, pairCoupling } from './pair-coupling.ts';
import { pairMeans, pairSums } from './pair-metrics.ts';
import type { TrainStep } from './train-step.ts';

/** A preference with the reference's opinion of it. */
export interface PairExample extends FromBatch {
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
  /** Whether scores are relative to a reference; when not, they are log π. Default true. */
  readonly reference?: boolean;
  /** Scores and reported log-probabilities are means per token instead of sums. */
  readonly perToken?: boolean;
  /** Weight of the tokens of a completion beyond the length of the other side. Default 1. */
  readonly tailWeight?: number;
  /** Provide `nll` to the loss: over the chosen completion, or over its prompt too. */
  readonly nll?: 'completion' | 'all';
  /** Provide `ranked` to the loss. */
  readonly ranks?: boolean;
  /** Weigh each pair by how likely the policy finds it, w(chosen)·w(rejected). */
  readonly onPolicyWeights?: boolean;
  /** Further means over pairs to report, by the name of the metric; each [B]. */
  readonly figures?: (pair: PairScores) => Readonly<Record<string, Tensor>>;
}

/** Both sides with weights of their tokens in place of masks: `tailWeight` beyond the length of the shorter one. */
export function weighTails(
  { chosen, rejected }: PairExample,
  tailWeight: number,
): readonly [TokenExample, TokenExample] {
  const count = ({ mask }: TokenExample): number => Array.from(mask).reduce((total, m) => total + m, 0);
  const shared = Math.min(count(chosen), count(rejected));
  const weigh = (side: TokenExample): TokenExample => {
    let seen = 0;
    return { ...side, mask: Array.from(side.mask, (m) => (m === 0 || seen++ < shared ? m : m * tailWeight)) };
  };
  return [weigh(chosen), weigh(rejected)];
}

const whole = (side: TokenExample): TokenExample => ({
  ...side,
  mask: Array.from(side.ids, (_, t) => Math.min(t, 1)),
});

/** Rows of a micro-batch: all chosen completions, then all rejected ones. Metrics as TRL's DPO trainer names them. */
export function pairwiseStep(options: PairwiseStepOptions): TrainStep<PairExample> {
  const { beta, loss, divergence = divergences.reverseKl, perToken = false, tailWeight = 1 } = options;
  const { temperature = 1 } = options;
  const { nll, ranks = false, onPolicyWeights = false, reference = true, figures = () => ({}) } = options;
  const counted = nll === 'all' ? whole : (side: TokenExample): TokenExample => side;
  /** Numbers per pair, by the name of their input. */
  const columns: Readonly<Record<string, (pair: PairExample) => number | undefined>> = {
    pairs: () => 1,
    ...(reference && {
      referenceChosen: (pair: PairExample) => pair.reference?.chosen,
      referenceRejected: (pair: PairExample) => pair.reference?.rejected,
    }),
    ...(nll && { share: ({ share }: PairExample) => share }),
    ...(ranks && {
      rankedReference: (pair: PairExample) => pair.rankedReference,
      rankedRejected: (pair: PairExample) => pair.rankedRejected,
      rankedChosen: (pair: PairExample) => pair.rankedChosen,
    }),
  };
  /** Further weights per token, of the label in each column. */
  const tokenWeights: Readonly<Record<string, (pair: PairExample) => readonly [TokenExample, TokenExample]>> =
    {
      ...(tailWeight !== 1 && { weights: (pair: PairExample) => weighTails(pair, tailWeight) }),
      ...(nll === 'all' && {
        counted: ({ chosen, rejected }: PairExample) => [whole(chosen), whole(rejected)] as const,
      }),
    };
  return {
    columns: ({ chosen, rejected }) => columnsOf(Math.max(chosen.ids.length, rejected.ids.length)),
    weight: () => 1,
    tokens: ({ chosen, rejected }) => chosen.ids.length + rejected.ids.length,
    types: (rows, width) => {
      const perPair: TensorType = { dtype: 'float32', shape: [rows] };
      const perLabel: TensorType = { dtype: 'float32', shape: [2 * rows, width] };
      return {
        ...tokenTypes(2 * rows, width, false),
        ...Object.fromEntries(Object.keys(columns).map((name) => [name, perPair])),
        ...Object.fromEntries(Object.keys(tokenWeights).map((name) => [name, perLabel])),
      };
    },
    arrays(examples, rows, width) {
      const padding = new Array<TokenExample>(rows - examples.length).fill({ ids: [], mask: [] });
      const stacked = (of: (pair: PairExample) => readonly [TokenExample, TokenExample]) => {
        const sides = examples.map(of);
        const sequences = [
          ...sides.map(([chosen]) => chosen),
          ...padding,
          ...sides.map(([, other]) => other),
        ];
        return tokenArrays(sequences, 2 * rows, width, false);
      };
      const perPair = Object.entries(columns).map(([name, of]) => {
        const data = new Float32Array(rows);
        data.set(examples.map((pair) => of(pair) ?? missing(name)));
        return [name, data] as const;
      });
      const perLabel = Object.entries(tokenWeights).map(([name, of]) => [name, stacked(of).mask!] as const);
      return {
        ...stacked(({ chosen, rejected }) => [chosen, rejected]),
        ...Object.fromEntries(perPair),
        ...Object.fromEntries(perLabel),
      };
    },
    trace({ model, weights: parameters, rematerialize }, inputs) {
      const { pairs, share, weights, counted: whole } = inputs as Readonly<Record<string, Tensor>>;
      const batch = inputs as unknown as TokenInputs;
      const read = batchLogProbs(model, parameters, batch, {
        ...{ rematerialize, temperature, logSumSquares: onPolicyWeights },
      });
      const rows = pairs!.shape[0]!;
      const chosenHalf = (x: Tensor): Tensor => sliceAxis(x, 0, 0, rows);
      const rejectedHalf = (x: Tensor): Tensor => sliceAxis(x, 0, rows, 2 * rows);
      const perRow = (x: Tensor, by: Tensor): Tensor => sum(mul(x, by), { axes: 1 }); // [2·rows]
      const lengths = sum(batch.mask, { axes: 1 });
      const total = perRow(read.logProbs, weights ?? batch.mask);
      const sequence = perToken ? div(total, maximum(lengths, 1)) : total;
      const [chosen, rejected] = [chosenHalf(sequence), rejectedHalf(sequence)];
      const chosenRatio = reference ? sub(chosen, inputs.referenceChosen!) : chosen;
      const rejectedRatio = reference ? sub(rejected, inputs.referenceRejected!) : rejected;
      const pairScores: PairScores = {
        chosen: divergence(chosenRatio),
        rejected: divergence(rejectedRatio),
        chosenLength: chosenHalf(lengths),
        rejectedLength: rejectedHalf(lengths),
        ...(nll && { nll: neg(mul(chosenHalf(perRow(read.logProbs, whole ?? batch.mask)), share!)) }),
        ...(ranks && {
          ranked: {
            paired: sub(sub(chosen, rejected), inputs.rankedReference!),
            chosen: sub(chosenRatio, inputs.rankedRejected!),
            rejected: sub(inputs.rankedChosen!, rejectedRatio),
          },
        }),
      };
      const overPairs = (x: Tensor): Tensor => sum(mul(x, pairs!));
      const losses = loss(pairScores);
      const likelihood = (): Tensor => {
        const aligned = stopGradient(sub(read.logProbs, read.logSumSquares!));
        const weight = exp(div(perRow(aligned, batch.mask), maximum(lengths, 1)));
        return mul(chosenHalf(weight), rejectedHalf(weight));
      };
      return {
        loss: overPairs(onPolicyWeights ? mul(losses, likelihood()) : losses),
        sums: {
          ...pairSums({
            ...{ chosen, rejected, pairs: pairs!, mask: batch.mask, ...read },
            rewardChosen: mul(stopGradient(chosenRatio), beta),
            rewardRejected: mul(stopGradient(rejectedRatio), beta),
          }),
          ...Object.fromEntries(
            Object.entries<Tensor>(figures(pairScores)).map(([name, x]) => [`figure:${name}`, overPairs(x)]),
          ),
        },
      };
    },
    summarize: pairMeans,
    ...((nll || ranks) && {
      coupling: pairCoupling({ counted, ranks, weigh: (pair) => weighTails(pair, tailWeight) }),
    }),
  };
}

function missing(name: string): never {
  const isReference = name.startsWith('reference');
  throw new ConfigError({
    where: 'pairwiseStep',
    expected: isReference ? 'pairs with reference log-probabilities' : `pairs with ${name}`,
    received: 'a pair without',
    fix: isReference
      ? 'Score the pairs with the reference model before training'
      : 'Complete the batch with the coupling of the step',
  });
}
