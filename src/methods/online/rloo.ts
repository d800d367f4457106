/**
 * REINFORCE Leave-One-Out: each completion is compared with the mean of the others of its prompt; the KL is part of the reward.
 *
 * @paper   Ahmadian et al. 2024, "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in
 *          LLMs" (arXiv 2402.14740), sections 2.2 and 3
 * @code    huggingface/trl v1.16.0 `trl/trainer/rloo_trainer.py` (defaults, metric names)
 * @differs 1. with more than one pass over a batch, the ratio of the sequence is clipped, as TRL does; the paper makes one pass
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { leaveOneOut } from '../../parts/advantage/group-relative.ts';
import { whiten } from '../../parts/advantage/whiten.ts';
import { fixedKl } from '../../parts/controller/kl.ts';
import { targetControls } from '../../parts/controller/targets.ts';
import { policyClipLoss } from '../../parts/loss/policy-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward } from '../../parts/reward/kl-reward.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { groupFields, onlineFields, targetFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for RLOO (tiny models want about 1e-4)',
  ),
  ...groupFields(2),
  ...section('RLOO', {
    klCoefficient: field(z.number().min(0).default(0.05), { aliases: ['beta'] }).describe(
      'multiplies the KL of the whole completion to the reference, which is taken off its score; TRL’s default',
    ),
    clipRange: field(z.number().positive().default(0.2), { aliases: ['epsilon'] }).describe(
      'the ratio of the sequence to the policy at rollout counts within 1 ± clipRange',
    ),
    whitenAdvantages: field(z.boolean().default(false), { aliases: ['normalizeAdvantages'] }).describe(
      'scale advantages of an iteration to mean 0 and variance 1',
    ),
  }),
  ...targetFields,
});

export const rloo = defineOnlineMethod<typeof config>({
  id: 'rloo',
  kind: 'online',
  summary:
    'REINFORCE with the other completions of the prompt as baseline, and the KL in the reward; no critic',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('reward_std', 'mean deviation of the rewards, KL included, within a group'),
    metric('frac_reward_zero_std', 'share of groups whose rewards are all equal'),
  ],
  build: (settings) =>
    policyGradientStep({
      temperature: settings.temperature,
      maxNewTokens: settings.maxNewTokens,
      // The completion is the action: its token losses, all equal, are averaged, then the completions.
      aggregation: 'sequence-mean-token-mean',
      entropyCoefficient: 0,
      reward: (input, klCoefficient) => klReward(input, { klCoefficient }),
      advantage: leaveOneOut(),
      normalizeAdvantages: settings.whitenAdvantages ? whiten : undefined,
      policyLoss: (input) => policyClipLoss(input, { clipRange: settings.clipRange, ratio: 'sequence-sum' }),
      targets: () => targetControls(settings),
      controller: () => fixedKl(settings.klCoefficient),
    }),
});
