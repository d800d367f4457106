/**
 * Pairwise preference model: reads a prompt with two completions and tells how likely the first is preferred.
 *
 * @paper   Jiang et al. 2023, "LLM-Blender" (arXiv 2306.02561), its PairRanker (pairs read together, both orders, sums of logits);
 *          Dong et al. 2024, "RLHF Workflow" (arXiv 2405.07863), its preference model
 * @code    none compared with
 * @differs 1. a decoder with a score head at the end of the second completion; PairRanker is an encoder with a head per candidate, and
 *             the workflow's model writes a letter
 *          2. completions are told apart by their stop tokens; no words stand around them
 */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { DataError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { mean } from '../../core/statistics.ts';
import { createEncoder, type EncodedExample, encodeRows, type Row } from '../../data/index.ts';
import { evaluatePairs } from '../../eval/calibration.ts';
import { abs, add, cast, less, mul, neg, sigmoid, sub } from '../../graph/ops/elementwise.ts';
import { softplus } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { scoreHeadOver, scoresOf, upToStop } from '../../parts/score-base.ts';
import { joinedPair, preferenceLogit } from '../../parts/scorer/pair-scorer.ts';
import { formatRewardCard, REWARD_CARD } from '../../parts/scorer/reward-card.ts';
import { type RewardPair, rewardModelStep } from '../../parts/step/reward-model.ts';
import { trainerFields } from '../../parts/trainer/config.ts';

export const config = z.strictObject({
  ...trainerFields,
  maxLength: field(z.int().min(2).default(1024), { group: 'Model and data' }).describe(
    'longest prompt with two completions in tokens; longer completions are cut, both to the same length, and counted',
  ),
  learningRate: field(z.number().positive().default(1e-4), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for reward models',
  ),
});

/**
 * −½·(log σ(s) + log σ(−s′)) per pair, nats: s is the logit that the first is preferred with the chosen completion first, s′ with the
 * rejected one first.
 *
 * @returns [B]; ln 2 where both logits are 0
 * @example s = 2, s′ = −1: ½·(0.126928 + 0.313262) = 0.220095
 */
export const bothOrdersLoss = (chosenFirst: Tensor, rejectedFirst: Tensor): Tensor =>
  mul(add(softplus(neg(chosenFirst)), softplus(rejectedFirst)), 0.5);

/** `chosen`: the prompt with the chosen completion before the rejected one; `rejected`: the other way round. */
type OrderedPair = RewardPair & {
  readonly where: string;
  readonly chosen: EncodedExample;
  readonly rejected: EncodedExample;
};

export const pairRm = defineMethod<typeof config, RewardPair>({
  id: 'pair-rm',
  kind: 'train',
  summary: 'preference model that reads two completions together and tells which is preferred',
  data: 'preference',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    metric('accuracy', 'share of pairs whose chosen completion is preferred, by the mean over both orders'),
    metric('margin', 'mean logit that the chosen completion is preferred, over both orders', {
      unit: 'nats',
    }),
    metric('order/consistency', 'share of pairs of which the same completion is preferred in both orders', {
      healthy: 'above 0.9',
    }),
    metric('order/bias', 'mean of |P(first) + P(first, turned around) − 1|: what the place is worth', {
      healthy: 'below 0.1',
    }),
    metric('eval_ece', 'expected calibration error on held-out pairs, 0 to 1, after training'),
  ],
  adapt: (loaded, { config: settings, tokenizer }) =>
    scoreHeadOver(loaded, { ...settings, tokenizer, labels: ['first preferred'] }),
  encode(rows, { config: { maxLength, truncation, refused }, tokenizer }) {
    const encoder = createEncoder(tokenizer, { maxLength, truncation });
    const encode = (row: Row): OrderedPair => {
      const { where, chosen, rejected } = encoder.preference(row);
      const { eosId } = tokenizer;
      if (eosId === undefined) {
        throw new DataError({
          where,
          expected: 'a tokenizer with a stop token, between completions',
          received: 'none',
        });
      }
      return orderedPair(where, upToStop(chosen), upToStop(rejected), { eosId, maxLength });
    };
    return encodeRows(rows, encode, { refused });
  },
  build() {
    const step = rewardModelStep({
      loss: ({ chosen, rejected }) => bothOrdersLoss(chosen, rejected),
      figures: ({ chosen, rejected }) => ({
        'order/consistency': cast(less(mul(chosen, rejected), 0), 'float32'),
        'order/bias': abs(sub(add(sigmoid(chosen), sigmoid(rejected)), 1)),
      }),
    });
    return {
      ...step,
      summarize(totals) {
        const { accuracy = 0, margin = 0, ...figures } = step.summarize(totals);
        const { min_reward: _, mean_reward: __, max_reward: ___, ...orders } = figures;
        return { accuracy, margin: margin / 2, ...orders };
      },
    };
  },
  async finish(context) {
    const heldOut = context.evaluation.length > 0;
    const pairs = (heldOut ? context.evaluation : context.training) as readonly RewardPair[];
    const scores = await scoresOf(
      pairs.flatMap(({ chosen, rejected }) => [chosen.ids, rejected.ids]),
      context,
    );
    const orders = pairs.map((_, pair) => [scores[2 * pair]![0]!, scores[2 * pair + 1]![0]!] as const);
    const evaluation = evaluatePairs(orders.map(([inOrder, reversed]) => preferenceLogit(inOrder, reversed)));
    const { accuracy, tieRate, temperature, eceAtTemperature } = evaluation;
    const { ece, brier, nll } = evaluation.calibration;
    const first = (logit: number): number => 1 / (1 + Math.exp(-logit));
    return {
      files: {
        [REWARD_CARD]: formatRewardCard({
          ...{ format: 1, eosRule: 'append', maxLength: context.config.maxLength },
          evaluation: {
            ...{ pairs: pairs.length, heldOut, accuracy, tieRate, ece, brier, nll },
            ...{ temperature, eceAtTemperature },
          },
          pairwise: {
            consistency: mean(orders.map(([inOrder, reversed]) => (inOrder * reversed < 0 ? 1 : 0))),
            orderBias: mean(
              orders.map(([inOrder, reversed]) => Math.abs(first(inOrder) + first(reversed) - 1)),
            ),
          },
        }),
      },
      metrics: heldOut ? { eval_ece: ece, eval_temperature: temperature } : {},
    };
  },
});

/** Both orders of a pair within `maxLength` tokens. @throws DataError when the prompt leaves no room, or the two are equal once cut */
function orderedPair(
  where: string,
  chosen: EncodedExample,
  rejected: EncodedExample,
  { eosId, maxLength }: { readonly eosId: number; readonly maxLength: number },
): OrderedPair {
  const { promptLength } = chosen;
  const prompt = chosen.ids.subarray(0, promptLength);
  const [a, b] = [chosen, rejected].map(({ ids }) => ids.subarray(promptLength)) as [Int32Array, Int32Array];
  // A place each for the stop tokens.
  const room = maxLength - promptLength - 2;
  if (room < 2) {
    throw new DataError({
      where,
      expected: `a prompt of fewer than ${maxLength - 3} tokens: two completions follow it within maxLength`,
      received: `${promptLength} tokens`,
      fix: 'Raise maxLength, or remove the row',
    });
  }
  const longest =
    a.length + b.length <= room ? room : Math.max(room >> 1, room - Math.min(a.length, b.length));
  const [first, second] = [a.subarray(0, longest), b.subarray(0, longest)];
  if (first.length === second.length && first.every((id, t) => id === second[t])) {
    throw new DataError({
      where,
      expected: '`chosen` and `rejected` to differ',
      received: `equal tokens after cutting to ${maxLength} for both together`,
      fix: 'Raise maxLength, or remove the row',
    });
  }
  const order = (side: EncodedExample, one: Int32Array, other: Int32Array): EncodedExample => {
    const ids = Int32Array.from(joinedPair(prompt, one, other, eosId));
    const mask = Uint8Array.from(ids, (_, t) => (t < promptLength ? 0 : 1));
    const own = side === chosen ? a : b;
    return { ...side, ids, mask, truncated: side.truncated + own.length - one.length };
  };
  return { where, chosen: order(chosen, first, second), rejected: order(rejected, second, first) };
}
