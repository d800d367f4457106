/** What pairs take from their batch: their share of its tokens, and partners of equal rank. */
import { mul } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { concat, reshape, sliceAxis } from '../../graph/ops/shape.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import {
  columnsOf,
  countLabels,
  type TokenExample,
  type TokenInputs,
  tokenArrays,
  tokenTypes,
} from '../batch.ts';
import type { ForwardKind } from '../forward.ts';
import { batchLogProbs } from '../logprob.ts';
import type { Coupling } from './coupling.ts';
import type { PairExample } from './pairwise.ts';

/** Numbers of a pair that come from its batch. */
export interface FromBatch {
  /** Pairs of the batch over the tokens of their chosen sides: makes a mean over pairs of sums over tokens a mean per token. */
  readonly share?: number;
  /** Partners of equal rank, nats (see `RankedMargins`). */
  readonly rankedReference?: number;
  readonly rankedRejected?: number;
  readonly rankedChosen?: number;
}

/** `weigh`: the two sides with the weights of their tokens in place of masks. */
export interface PairCouplingOptions {
  /** Which tokens of the chosen side are counted for `share`. */
  readonly counted: (chosen: TokenExample) => TokenExample;
  /** Rank log-ratios over the batch, at the price of a forward pass. */
  readonly ranks: boolean;
  readonly weigh: (pair: PairExample) => readonly [TokenExample, TokenExample];
}

export function pairCoupling({ counted, ranks, weigh }: PairCouplingOptions): Coupling<PairExample> {
  return {
    ...(ranks && { survey: (model: CausalModel) => pairLogProbKind(model, weigh) }),
    complete(batch, numbers) {
      const tokens = batch.reduce((total, { chosen }) => total + countLabels(counted(chosen)), 0);
      const share = batch.length / Math.max(tokens, 1);
      if (!ranks) return batch.map((pair) => ({ ...pair, share }));
      const { chosen, rejected, margins, referenceMargins } = logRatios(batch, numbers);
      const rankedReference = partners(margins, referenceMargins);
      const rankedRejected = partners(chosen, rejected);
      const rankedChosen = partners(rejected, chosen);
      return batch.map((pair, index) => ({
        ...pair,
        share,
        rankedReference: rankedReference[index]!,
        rankedRejected: rankedRejected[index]!,
        rankedChosen: rankedChosen[index]!,
      }));
    },
  };
}

function logRatios(batch: readonly PairExample[], numbers: readonly ArrayLike<number>[]) {
  const reference = batch.map(({ reference: given = { chosen: 0, rejected: 0 } }) => given);
  return {
    chosen: reference.map(({ chosen }, i) => numbers[i]![0]! - chosen),
    rejected: reference.map(({ rejected }, i) => numbers[i]![1]! - rejected),
    margins: numbers.map((pair) => pair[0]! - pair[1]!),
    referenceMargins: reference.map(({ chosen, rejected }) => chosen - rejected),
  };
}

/** For each number the one of `others` that has the same rank. @example partners([3, 1, 2], [10, 30, 20]) = [30, 10, 20] */
export function partners(own: readonly number[], others: readonly number[]): number[] {
  const sorted = [...others].sort((a, b) => a - b);
  const result = new Array<number>(own.length);
  own
    .map((value, index) => ({ value, index }))
    .sort((a, b) => a.value - b.value)
    .forEach(({ index }, rank) => {
      result[index] = sorted[rank]!;
    });
  return result;
}

/** Σ weight · log π of both sides of a pair, nats. */
function pairLogProbKind(model: CausalModel, weigh: PairCouplingOptions['weigh']): ForwardKind<PairExample> {
  return {
    columns: ({ chosen, rejected }) => columnsOf(Math.max(chosen.ids.length, rejected.ids.length)),
    types: (rows, columns) => tokenTypes(2 * rows, columns, false),
    arrays(pairs, rows, columns) {
      const sides = pairs.map(weigh);
      const padding = new Array<TokenExample>(rows - pairs.length).fill({ ids: [], mask: [] });
      const sequences = [
        ...sides.map(([chosen]) => chosen),
        ...padding,
        ...sides.map(([, rejected]) => rejected),
      ];
      return tokenArrays(sequences, 2 * rows, columns, false);
    },
    trace(weights, inputs) {
      const batch = inputs as unknown as TokenInputs;
      const { logProbs } = batchLogProbs(model, weights, batch);
      const sequence = reshape(sum(mul(logProbs, batch.mask), { axes: 1 }), [batch.ids.shape[0]!, 1]);
      const rows = batch.ids.shape[0]! / 2;
      return concat([sliceAxis(sequence, 0, 0, rows), sliceAxis(sequence, 0, rows, 2 * rows)], 1);
    },
    length: () => 2,
  };
}
