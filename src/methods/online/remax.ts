/**
 * ReMax: REINFORCE with the score of the likeliest completion of the prompt as baseline. No critic, and one completion per prompt.
 *
 * @paper   Li et al. 2023, "ReMax: A Simple, Effective, and Efficient Reinforcement Learning Method for Aligning Large Language
 *          Models" (arXiv 2310.10505), section 3, eq. 5
 * @code    verl-project/verl `verl/trainer/ppo/core_algos.py` `compute_remax_outcome_advantage`
 * @differs 1. with more than one pass over a batch, the ratio of each token is clipped as in PPO; the paper makes one pass
 *          2. token losses are averaged over all tokens of a mini-batch, as verl does; the paper's are summed per completion
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { likeliestBaseline } from '../../parts/advantage/returns-to-go.ts';
import { fixedKl } from '../../parts/controller/kl.ts';
import { targetControls } from '../../parts/controller/targets.ts';
import { policyClipLoss } from '../../parts/loss/policy-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward } from '../../parts/reward/kl-reward.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { onlineFields, targetFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; the paper’s for Llama-2-7B (tiny models want about 1e-4)',
  ),
  updateEpochs: field(z.int().positive().default(1), {
    aliases: ['numIterations'],
    group: 'Rollouts',
  }).describe('passes over the completions of an iteration; 1 is on-policy, as the paper'),
  ...section('ReMax', {
    klCoefficient: field(z.number().min(0).default(0.1), { aliases: ['beta'] }).describe(
      'multiplies the KL to the reference per token, which is taken off the reward; the paper’s default',
    ),
    clipRange: field(z.number().positive().default(0.2), { aliases: ['epsilon'] }).describe(
      'the ratio to the policy at rollout counts within 1 ± clipRange; acts from the second pass on',
    ),
    entropyCoefficient: field(z.number().min(0).default(0)).describe(
      'multiplies the mean token entropy, which is added to the objective; where entropyTarget is set, at the start',
    ),
  }),
  ...targetFields,
});

export const remax = defineOnlineMethod<typeof config>({
  id: 'remax',
  kind: 'online',
  summary: 'REINFORCE with the score of the likeliest completion as baseline; no critic',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [...onlineMetrics, metric('objective/baseline', 'mean score of the likeliest completions')],
  build: (settings) =>
    policyGradientStep({
      temperature: settings.temperature,
      maxNewTokens: settings.maxNewTokens,
      greedy: true,
      aggregation: 'token-mean',
      entropyCoefficient: settings.entropyCoefficient,
      reward: (input, klCoefficient) => klReward(input, { klCoefficient }),
      advantage: likeliestBaseline(),
      policyLoss: (input) => policyClipLoss(input, { clipRange: settings.clipRange }),
      targets: () => targetControls(settings),
      controller: () => fixedKl(settings.klCoefficient),
    }),
});
