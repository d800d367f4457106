/**
 * REINFORCE++: the return of each token, whitened over the whole batch, in place of a critic; the KL is a cost per token.
 *
 * @paper   Hu et al. 2025, "REINFORCE++: An Efficient RLHF Algorithm with Robustness to Both Prompt and Reward Models"
 *          (arXiv 2501.03262), section 3; with `baseline: group` REINFORCE++-baseline of the same section
 * @code    verl-project/verl `verl/trainer/ppo/core_algos.py` `compute_reinforce_plus_plus_*_advantage`; OpenRLHF/OpenRLHF
 *          `openrlhf/trainer/ppo_utils/experience_maker.py` (`reinforce`, `reinforce_baseline`)
 * @differs 1. whitening divides by the population variance, as OpenRLHF; verl by the sample variance
 *          2. REINFORCE++-baseline takes the KL off the reward, as verl does where it is asked to; the paper has a k2 term in the loss
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { groupRelative } from '../../parts/advantage/group-relative.ts';
import { returnsToGo } from '../../parts/advantage/returns-to-go.ts';
import { whiten } from '../../parts/advantage/whiten.ts';
import { fixedKl } from '../../parts/controller/kl.ts';
import { targetControls } from '../../parts/controller/targets.ts';
import { policyClipLoss } from '../../parts/loss/policy-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward } from '../../parts/reward/kl-reward.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { onlineFields, targetFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(5e-7), { group: 'Optimization' }).describe(
    'peak learning rate; OpenRLHF’s for REINFORCE++ (tiny models want about 1e-4)',
  ),
  updateEpochs: field(z.int().positive().default(1), {
    aliases: ['numIterations'],
    group: 'Rollouts',
  }).describe('passes over the completions of an iteration; 1 is on-policy'),
  ...section('REINFORCE++', {
    baseline: field(z.enum(['none', 'group']).default('none')).describe(
      'none: returns are whitened as they are; group: the mean reward of the prompt’s completions is taken off first (REINFORCE++-baseline), which needs completionsPerPrompt of 2 or more',
    ),
    klCoefficient: field(z.number().min(0).default(0.01), { aliases: ['beta', 'initKlCoef'] }).describe(
      'multiplies the KL to the reference per token, which is taken off the reward; OpenRLHF’s default',
    ),
    gamma: field(z.number().min(0).max(1).default(1)).describe('discount per token; without a baseline only'),
    clipRange: field(z.number().positive().default(0.2), { aliases: ['epsilon'] }).describe(
      'the ratio to the policy at rollout counts within 1 ± clipRange',
    ),
    entropyCoefficient: field(z.number().min(0).default(0)).describe(
      'multiplies the mean token entropy, which is added to the objective; where entropyTarget is set, at the start',
    ),
  }),
  ...targetFields,
});

export const reinforcePlusPlus = defineOnlineMethod<typeof config>({
  id: 'reinforce-plus-plus',
  kind: 'online',
  summary: 'REINFORCE with returns whitened over the batch, with or without the group as baseline; no critic',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('reward_std', 'mean deviation of the rewards, KL included, within a group; with baseline group'),
    metric('frac_reward_zero_std', 'share of groups whose rewards are all equal; with baseline group'),
  ],
  build(settings) {
    const { baseline, gamma, completionsPerPrompt, clipRange } = settings;
    if (baseline === 'group' && completionsPerPrompt < 2) {
      throw new ConfigError({
        where: 'completionsPerPrompt',
        expected: '2 or more, for a group to be a baseline',
        received: String(completionsPerPrompt),
        fix: 'Add --completions-per-prompt 4, or --baseline none',
      });
    }
    return policyGradientStep({
      temperature: settings.temperature,
      maxNewTokens: settings.maxNewTokens,
      aggregation: 'token-mean',
      entropyCoefficient: settings.entropyCoefficient,
      reward: (input, klCoefficient) => klReward(input, { klCoefficient }),
      advantage: baseline === 'group' ? groupRelative({ scale: 'none' }) : returnsToGo({ gamma }),
      normalizeAdvantages: whiten,
      policyLoss: (input) => policyClipLoss(input, { clipRange }),
      targets: () => targetControls(settings),
      controller: () => fixedKl(settings.klCoefficient),
    });
  },
});
