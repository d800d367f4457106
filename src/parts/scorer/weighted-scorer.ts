/** Several rewards as one score: their weighted sum. */
import { ConfigError } from '../../core/errors.ts';
import { mean, standardDeviation } from '../../core/statistics.ts';
import { type RewardWeight, weightAt } from './reward-weight.ts';
import type { Score, ScoreContext, ScoreItem, Scorer } from './scorer.ts';

/**
 * A score of one reward: a number; `undefined` for "cannot be scored"; `null` for "does not concern this completion", as
 * TRL's None: the other rewards alone then make its score.
 */
export type PartScore = Score | null;

/** One of several rewards. Every scorer is one. */
export interface Reward {
  /** Name in metrics and messages. */
  readonly name: string;
  score(items: readonly ScoreItem[], context?: ScoreContext): Promise<readonly PartScore[]>;
  dispose(): void;
}

export interface WeightedReward {
  readonly reward: Reward;
  readonly weight: RewardWeight;
}

/**
 * Σ weight · score over the rewards that concern a completion. A completion that any of its rewards cannot score is not
 * scored, and neither is one that concerns none. The rewards are asked at once; each one's scores go to `context.onPart`.
 *
 * @throws ConfigError when two rewards have the same name; the errors of the rewards
 * @source huggingface/trl v1.16.0 `trl/trainer/grpo_trainer.py` (`reward_weights`, None)
 * @example weights 1 and 0.5, scores 1 and −2: 0; 1 and null: 1; 1 and undefined: undefined
 */
export function weightedScorer(parts: readonly WeightedReward[]): Scorer {
  const names = parts.map(({ reward }) => reward.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new ConfigError({
      where: 'rewards',
      expected: 'each under a name of its own',
      received: `"${twice}" twice`,
      fix: 'Give one of the files, functions or folders another name',
    });
  }
  return {
    name: names.join(' + '),
    async score(items, context = {}) {
      const scores = await Promise.all(parts.map(({ reward }) => reward.score(items, context)));
      scores.forEach((list, index) => void context.onPart?.(names[index]!, list));
      const weights = parts.map(({ weight }) => weightAt(weight, context.iteration ?? 0));
      return items.map((_, item) => {
        let total: number | undefined;
        for (const [index, list] of scores.entries()) {
          const score = list[item];
          if (score === undefined) return undefined;
          if (score !== null) total = (total ?? 0) + weights[index]! * score;
        }
        return total;
      });
    },
    dispose() {
      for (const { reward } of parts) reward.dispose();
    },
  };
}

/**
 * `rewards/<name>/mean` and `rewards/<name>/std` over the completions that a reward scored, the deviation that of a
 * sample, as TRL logs them; nothing where it scored none, and no deviation of one.
 */
export function rewardMetrics(name: string, scores: readonly PartScore[]): Record<string, number> {
  const scored = scores.filter((score) => typeof score === 'number');
  if (scored.length === 0) return {};
  return {
    [`rewards/${name}/mean`]: mean(scored),
    ...(scored.length > 1 && { [`rewards/${name}/std`]: standardDeviation(scored, 'sample') }),
  };
}
