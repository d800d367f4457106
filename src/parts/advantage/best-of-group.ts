/** Which completions of a prompt are worth imitating: those with the highest reward. */
import { hostTensor } from '../../core/host-tensor.ts';
import { checkShapes } from '../../core/shapes.ts';
import { mean } from '../../core/statistics.ts';
import type { AdvantageEstimator } from './advantage.ts';

/**
 * 1 on the tokens of the `keep` completions of each group with the highest R = Σ_t r_t, 0 on all others. Of equal rewards the
 * earlier completion is kept.
 *
 * @source Dong et al. 2023, "RAFT" (arXiv 2304.06767), algorithm 1, with the ranking within each prompt
 * @example R = [0, 2, 1] in one group, keep 1: [0, 1, 0]; metrics: rewards of the kept 2, of all 1
 */
export function bestOfGroup(keep: number): AdvantageEstimator {
  return ({ rewards, mask, groups }) => {
    const { B, C } = checkShapes('bestOfGroup', { rewards: [rewards, 'B C'], mask: [mask, 'B C'] }) as Record<
      'B' | 'C',
      number
    >;
    const totals = Array.from({ length: B }, (_, row) => {
      let total = 0;
      for (let at = row * C; at < (row + 1) * C; at++) total += mask.data[at]! * rewards.data[at]!;
      return total;
    });
    const byGroup = new Map<number, number[]>();
    totals.forEach((_, row) => {
      const group = groups?.[row] ?? 0;
      byGroup.set(group, [...(byGroup.get(group) ?? []), row]);
    });
    // The sort is stable: of equal rewards the earlier completion comes first.
    const kept = [...byGroup.values()].flatMap((rows) =>
      [...rows].sort((a, b) => totals[b]! - totals[a]!).slice(0, keep),
    );
    const advantages = hostTensor(new Float64Array(B * C), [B, C]);
    for (const row of kept) {
      for (let at = row * C; at < (row + 1) * C; at++) advantages.data[at] = mask.data[at]!;
    }
    return {
      advantages,
      returns: advantages,
      metrics: {
        'filter/kept': kept.length / B,
        'filter/kept_reward': mean(kept.map((row) => totals[row]!)),
        reward: mean(totals),
      },
    };
  };
}
