/** What the file of an online method fills in: one that samples, scores and learns from what it sampled. */
import type { z } from 'zod';
import type { ConfigSchema } from '../core/config.ts';
import { type MetricDefinition, metric } from '../core/metrics.ts';
import type { OnlineStep } from './step/online-step.ts';
import type { OnlineConfig } from './trainer/online-config.ts';

/** Models and functions that an online method works with. */
export type OnlineRole = 'policy' | 'reference' | 'critic' | 'reward';

export interface OnlineMethod<S extends ConfigSchema = ConfigSchema> {
  readonly id: string;
  readonly kind: 'online';
  /** One line for lists and help. */
  readonly summary: string;
  readonly data: 'prompt-only';
  readonly config: S;
  readonly needs: readonly OnlineRole[];
  readonly metrics: readonly MetricDefinition[];
  build(config: z.output<S>): OnlineStep;
}

/** Declares a method; the types of its slots follow from its schema. */
export function defineOnlineMethod<S extends ConfigSchema>(
  method: OnlineMethod<S> & (z.output<S> extends OnlineConfig ? unknown : never),
): OnlineMethod<S> {
  return method;
}

/** Metrics of every online run, with TRL's PPO names where it has one; means over an iteration. */
export const onlineMetrics: readonly MetricDefinition[] = [
  metric('episode', 'completions sampled so far'),
  metric('eps', 'completions per second'),
  metric('lr', 'learning rate of the policy at the last update'),
  metric('num_tokens', 'tokens learned from so far, padding not counted', { unit: 'tokens' }),
  metric('objective/kl', 'mean Σ log π/π_ref per completion', {
    unit: 'nats',
    healthy: 'rises slowly; tens of nats mean another language',
  }),
  metric('objective/entropy', 'mean −Σ log π per completion, at rollout', { unit: 'nats' }),
  metric('objective/scores', 'mean score, before penalties'),
  metric('rewards/{name}/mean', 'mean score of one reward, before its weight'),
  metric('rewards/{name}/std', 'deviation of the scores of one reward'),
  metric('objective/non_score_reward', 'mean KL part of the reward per completion'),
  metric('objective/rlhf_reward', 'mean reward per completion: score after penalties plus the KL part', {
    healthy: 'rises',
  }),
  metric('objective/kl_coefficient', 'weight of the KL term in this iteration'),
  metric('objective/unscored', 'completions that could not be scored'),
  metric(
    'objective/length_cost',
    'cost of a completion of full length, in units of score; with lengthTarget',
  ),
  metric('entropy_coef', 'weight of the mean token entropy; with entropyTarget'),
  metric('sampling/resampled_share', 'share of groups that were replaced; with resamplingRounds', {
    healthy: 'below 0.5',
  }),
  metric('sampling/rounds', 'rounds of sampling; with resamplingRounds'),
  metric('sampling/groups', 'groups learned from; with resamplingRounds'),
  metric('curriculum/success', 'mean running success rate of the prompts; with curriculum'),
  metric('curriculum/learnable', 'share of prompts that succeed in 10 to 90 % of cases; with curriculum'),
  metric('completions/mean_length', 'mean length', { unit: 'tokens' }),
  metric('completions/clipped_ratio', 'share of completions without a stop token'),
  metric('policy/approxkl_avg', 'mean (log π − log π_old)²/2 per token during updates', {
    unit: 'nats',
    healthy: 'below 0.02',
  }),
  metric('policy/clipfrac_avg', 'share of tokens whose ratio was clipped', { healthy: '0.01 to 0.3' }),
  metric('policy/entropy_avg', 'mean entropy per token during updates', {
    unit: 'nats',
    healthy: 'falls slowly, does not reach 0',
  }),
  metric('policy/grad_norm', 'L2 norm of the policy’s gradient before clipping'),
  metric('loss/policy_avg', 'mean policy loss of the updates'),
  metric('loss/value_avg', 'mean value loss of the updates'),
  metric('val/ratio', 'mean π/π_old per token during updates', { healthy: 'near 1' }),
  metric('val/ratio_var', 'variance of that mean between updates'),
  metric('val/num_eos_tokens', 'completions that ended with a stop token'),
  metric('val/explained_variance', '1 − Var(return − value)/Var(return) at rollout', {
    healthy: 'above 0 once the critic has learned',
  }),
  metric('sampling/logp_difference', 'mean |log π of sampler − log π of trainer| before the first update', {
    unit: 'nats',
    healthy: 'below 1e-4',
  }),
  metric('time/rollout', 'seconds of sampling', { unit: 's' }),
  metric('time/score', 'seconds of scoring and of passes without gradients', { unit: 's' }),
  metric('time/update', 'seconds of updates', { unit: 's' }),
];
