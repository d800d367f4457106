/** Figures of a batch of pairs, with the names of TRL's DPO trainer. */
import { type MetricDefinition, metric } from '../../core/metrics.ts';
import { cast, greater, mul } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import { sliceAxis } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';

/** `reward`: what the rewards are, as text. */
export const pairMetrics = (reward: string): readonly MetricDefinition[] => [
  metric('rewards/chosen', `mean ${reward} of chosen completions, nats`),
  metric('rewards/rejected', 'the same of rejected completions, nats'),
  metric('rewards/accuracies', 'share of pairs whose chosen reward is the larger'),
  metric('rewards/margins', 'mean difference of the two rewards, nats'),
  metric(
    'logps/chosen',
    'mean log π of chosen completions, nats: sums over tokens, or means where the method uses means',
  ),
  metric('logps/rejected', 'the same of rejected completions, nats'),
  metric('logits/chosen', 'mean logit over chosen tokens and the vocabulary'),
  metric('logits/rejected', 'the same over rejected tokens'),
  metric('entropy', 'mean entropy of the predictions at completion tokens, nats'),
  metric('mean_token_accuracy', 'share of chosen tokens that are the most likely one'),
];

export interface PairFigures {
  readonly pairs: Tensor; // [rows], 1 = a real pair
  readonly chosen: Tensor; // [rows], log π
  readonly rejected: Tensor; // [rows]
  readonly rewardChosen: Tensor; // [rows]
  readonly rewardRejected: Tensor; // [rows]
  readonly mask: Tensor; // [2·rows, T]
  readonly entropy: Tensor; // [2·rows, T]
  readonly correct: Tensor; // [2·rows, T]
  readonly meanLogits: Tensor; // [2·rows, T]
}

/** Sums of a micro-batch. */
export function pairSums(figures: PairFigures): Record<string, Tensor> {
  const { pairs, chosen, rejected, rewardChosen, rewardRejected, mask, entropy } = figures;
  const rows = pairs.shape[0]!;
  const overPairs = (x: Tensor): Tensor => sum(mul(x, pairs));
  const half = (x: Tensor, start: number): Tensor => sliceAxis(x, 0, start, start + rows);
  const overLabels = (x: Tensor, start: number): Tensor => sum(mul(half(x, start), half(mask, start)));
  return {
    pairs: sum(pairs),
    labelsChosen: sum(half(mask, 0)),
    labelsRejected: sum(half(mask, rows)),
    rewardsChosen: overPairs(rewardChosen),
    rewardsRejected: overPairs(rewardRejected),
    accurate: overPairs(cast(greater(rewardChosen, rewardRejected), 'float32')),
    logpsChosen: overPairs(chosen),
    logpsRejected: overPairs(rejected),
    logitsChosen: overLabels(figures.meanLogits, 0),
    logitsRejected: overLabels(figures.meanLogits, rows),
    entropy: sum(mul(entropy, mask)),
    correctChosen: overLabels(figures.correct, 0),
  };
}

/** Metrics from the totals of `pairSums`; a total named `figure:x` is the sum over pairs of metric x. */
export function pairMeans(totals: Readonly<Record<string, number>>): Record<string, number> {
  const total = (name: string): number => totals[name] ?? 0;
  const pairs = Math.max(total('pairs'), 1);
  const labelsChosen = Math.max(total('labelsChosen'), 1);
  const labelsRejected = Math.max(total('labelsRejected'), 1);
  const figures = Object.entries(totals).flatMap(([name, value]) =>
    name.startsWith('figure:') ? [[name.slice('figure:'.length), value / pairs]] : [],
  );
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
    ...Object.fromEntries(figures),
  };
}
