/** Advantages from the completions of the same prompt: what a critic would estimate, they show. */
import { ShapeError } from '../../core/errors.ts';
import { hostTensor } from '../../core/host-tensor.ts';
import { checkShapes } from '../../core/shapes.ts';
import { mean, variance } from '../../core/statistics.ts';
import type { AdvantageEstimator, AdvantageInput, Advantages } from './advantage.ts';

export interface GroupRelativeOptions {
  /** What the difference to the group's mean is divided by: the deviation within the group, within the batch, or 1. */
  readonly scale: 'group' | 'batch' | 'none';
  /** Added to the deviation. It decides what a nearly uniform group is worth. */
  readonly epsilon?: number;
}

/**
 * A = (R − mean of the group) / (deviation + ε), the same for every token, with R = Σ_t r_t. Deviations are those of a sample
 * (n − 1). A group of one, or of equal rewards, teaches nothing: its advantages are 0.
 *
 * @source Shao et al. 2024, "DeepSeekMath" (arXiv 2402.03300), section 4.1.2 (`group`); Liu et al. 2025, "Understanding
 *   R1-Zero-Like Training" (arXiv 2503.20783), section 3.2 (`none`)
 * @example R = [0, 0, 1, 3] in one group, ε 1e-4: [−0.707057, −0.707057, 0, 1.414114]; unscaled [−1, −1, 0, 2]
 */
export function groupRelative({ scale, epsilon = 1e-4 }: GroupRelativeOptions): AdvantageEstimator {
  return (input) => {
    const { totals, groups } = groupTotals('groupRelative', input);
    const overall = totals.length > 1 ? Math.sqrt(variance(totals, 'sample')) : 0;
    return broadcast(input, groups, (rewards) => {
      const center = mean(rewards);
      const own = rewards.length > 1 ? Math.sqrt(variance(rewards, 'sample')) : 0;
      const divisor = scale === 'none' ? 1 : (scale === 'group' ? own : overall) + epsilon;
      return rewards.map((reward) => (reward - center) / divisor);
    });
  };
}

/**
 * A = R − mean of the others in the group = G/(G − 1) · (R − mean of the group), the same for every token. 0 in a group of one.
 *
 * @source Ahmadian et al. 2024, "Back to Basics" (arXiv 2402.14740), section 2.2; Kool et al. 2019
 * @example R = [0, 0, 1, 3] in one group: [−1.333333, −1.333333, 0, 2.666667]
 */
export function leaveOneOut(): AdvantageEstimator {
  return (input) => {
    const { groups } = groupTotals('leaveOneOut', input);
    return broadcast(input, groups, (rewards) => {
      const center = mean(rewards);
      const factor = rewards.length > 1 ? rewards.length / (rewards.length - 1) : 0;
      return rewards.map((reward) => factor * (reward - center));
    });
  };
}

/** Whether the scores of a group differ; those of one that do not, or of a group of one, have no advantages. */
export const scoresDiffer = (scores: readonly number[]): boolean =>
  scores.some((score) => score !== scores[0]);

interface Group {
  readonly rows: number[];
  readonly totals: number[];
}

/** Σ_t r_t of every completion, [B], and by group. */
function groupTotals(where: string, { rewards, mask, groups }: AdvantageInput) {
  if (groups === undefined || groups.length !== rewards.shape[0]) {
    throw new ShapeError({
      where: `${where}(groups)`,
      expected: `${rewards.shape[0]} numbers, one per completion`,
      received: groups === undefined ? 'none' : String(groups.length),
    });
  }
  const { B, C } = checkShapes(where, { rewards: [rewards, 'B C'], mask: [mask, 'B C'] }) as Record<
    'B' | 'C',
    number
  >;
  const totals = Array.from({ length: B }, (_, row) => {
    let total = 0;
    for (let at = row * C; at < (row + 1) * C; at++) total += mask.data[at]! * rewards.data[at]!;
    return total;
  });
  const byGroup = new Map<number, Group>();
  totals.forEach((total, row) => {
    const key = groups[row]!;
    const group = byGroup.get(key) ?? { rows: [], totals: [] };
    group.rows.push(row);
    group.totals.push(total);
    byGroup.set(key, group);
  });
  return { totals, groups: [...byGroup.values()] };
}

/** An advantage per completion on each of its tokens. There is no critic, so there are no returns. */
function broadcast(
  { rewards, mask }: AdvantageInput,
  groups: readonly Group[],
  estimate: (rewards: readonly number[]) => readonly number[],
): Advantages {
  const [, C] = rewards.shape as [number, number];
  const advantages = new Float64Array(rewards.data.length);
  const deviations: number[] = [];
  for (const { rows, totals } of groups) {
    deviations.push(totals.length > 1 ? Math.sqrt(variance(totals, 'sample')) : 0);
    estimate(totals).forEach((advantage, index) => {
      const row = rows[index]!;
      for (let at = row * C; at < (row + 1) * C; at++) if (mask.data[at] === 1) advantages[at] = advantage;
    });
  }
  return {
    advantages: hostTensor(advantages, rewards.shape),
    returns: hostTensor(new Float64Array(advantages.length), rewards.shape),
    metrics: {
      reward_std: mean(deviations),
      frac_reward_zero_std: deviations.filter((deviation) => deviation === 0).length / deviations.length,
    },
  };
}
