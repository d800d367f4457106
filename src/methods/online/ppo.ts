/**
 * Proximal Policy Optimization from human feedback: sample, score, and move the policy a clipped step towards what
 * scored better than the critic expected, while a KL penalty per token holds it near the reference.
 *
 * @paper   Schulman et al. 2017, "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), eq. 7; for language models:
 *          Ziegler et al. 2019 (arXiv 1909.08593), section 2; Ouyang et al. 2022 (arXiv 2203.02155), section 3.5
 * @code    huggingface/trl v0.24.0 `trl/trainer/ppo_trainer.py` (defaults, metric names)
 * @differs 1. the critic is a separate model with its own optimizer, so there is no weight of the value loss
 *          2. log-probabilities at rollout are the sampler's own: it runs the same kernels on the same weights
 *          3. whitening divides by the population variance; TRL by the sample variance
 *          4. samples at temperature 1 by default; TRL at 0.7
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { gae } from '../../parts/advantage/gae.ts';
import { whiten } from '../../parts/advantage/whiten.ts';
import { adaptiveKl, fixedKl } from '../../parts/controller/kl.ts';
import { targetControls } from '../../parts/controller/targets.ts';
import { policyClipLoss } from '../../parts/loss/policy-clip.ts';
import { valueClipLoss } from '../../parts/loss/value-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward, penalizeMissingEos } from '../../parts/reward/kl-reward.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { onlineFields, targetFields } from '../../parts/trainer/online-config.ts';
import { type OnlineRunOptions, runOnline } from '../../parts/trainer/run-online.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(3e-6), { group: 'Optimization' }).describe(
    'peak learning rate of the policy; TRL’s default for PPO (tiny models want about 1e-4)',
  ),
  ...section('PPO', {
    criticFrom: field(z.enum(['policy', 'reward-model']).default('policy')).describe(
      'where the critic starts: the policy’s trunk with a head of zeros, or the reward model',
    ),
    criticLearningRate: field(z.number().positive().optional()).describe(
      'peak learning rate of the critic; default: that of the policy',
    ),
    criticWarmup: field(z.int().min(0).default(0)).describe(
      'first iterations in which only the critic learns',
    ),
    clipRange: field(z.number().positive().default(0.2)).describe(
      'the ratio to the policy at rollout counts within 1 ± clipRange; the paper’s default',
    ),
    clipRangeHigh: field(z.number().positive().optional()).describe(
      'upper side of the clip; default clipRange',
    ),
    valueClipRange: field(z.number().positive().default(0.2), { aliases: ['cliprangeValue'] }).describe(
      'values move at most this far from those at rollout, in units of reward',
    ),
    gamma: field(z.number().min(0).max(1).default(1)).describe('discount per token'),
    gaeLambda: field(z.number().min(0).max(1).default(0.95), { aliases: ['lam'] }).describe(
      '0 trusts the critic, 1 trusts the rewards',
    ),
    klCoefficient: field(z.number().min(0).default(0.05), { aliases: ['klCoef', 'initKlCoef'] }).describe(
      'multiplies the KL to the reference per token, which is taken off the reward; TRL’s default',
    ),
    klEstimator: field(z.enum(['k1', 'k3']).default('k1')).describe('estimate of the KL at a sampled token'),
    klTarget: field(z.number().positive().optional()).describe(
      'KL per completion to hold, nats: the coefficient then follows it (Ziegler et al.); default: a fixed coefficient',
    ),
    klHorizon: field(z.number().positive().default(10_000)).describe(
      'completions over which klTarget is approached',
    ),
    missingEosPenalty: field(z.number().min(0).default(0)).describe(
      'taken off the score of a completion that was cut at maxNewTokens',
    ),
    whitenRewards: field(z.boolean().default(false)).describe(
      'scale token rewards to unit variance, keeping their mean',
    ),
    whitenAdvantages: field(z.boolean().default(true)).describe(
      'scale advantages of an iteration to mean 0 and variance 1; makes the scale of scores matter only beside the KL',
    ),
    entropyCoefficient: field(z.number().min(0).default(0)).describe(
      'multiplies the mean token entropy, which is added to the objective; where entropyTarget is set, at the start',
    ),
  }),
  ...targetFields,
});

export type PpoConfig = z.output<typeof config>;

export const ppo = defineOnlineMethod<typeof config>({
  id: 'ppo',
  kind: 'online',
  summary: 'proximal policy optimization against a reward model, with a critic and a KL penalty',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'critic', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('val/clipfrac_avg', 'share of tokens whose value was clipped'),
    metric('critic/grad_norm', 'L2 norm of the critic’s gradient before clipping'),
  ],
  build: (settings) =>
    policyGradientStep({
      temperature: settings.temperature,
      maxNewTokens: settings.maxNewTokens,
      // The mean over all completion tokens of a mini-batch, as TRL: long completions weigh more.
      aggregation: 'token-mean',
      entropyCoefficient: settings.entropyCoefficient,
      shape: (scores, traces) =>
        penalizeMissingEos(
          scores,
          traces.map(({ finish }) => finish === 'stop'),
          settings.missingEosPenalty,
        ),
      reward: (input, klCoefficient) => klReward(input, { klCoefficient, estimator: settings.klEstimator }),
      normalizeRewards: settings.whitenRewards
        ? (x, mask) => whiten(x, mask, { centered: false })
        : undefined,
      advantage: gae(settings),
      normalizeAdvantages: settings.whitenAdvantages ? whiten : undefined,
      policyLoss: (input) =>
        policyClipLoss(input, {
          clipRange: settings.clipRange,
          ...(settings.clipRangeHigh === undefined ? {} : { clipRangeHigh: settings.clipRangeHigh }),
        }),
      valueLoss: (input) => valueClipLoss(input, settings.valueClipRange),
      targets: () => targetControls(settings),
      controller: () =>
        settings.klTarget === undefined
          ? fixedKl(settings.klCoefficient)
          : adaptiveKl({
              initial: settings.klCoefficient,
              target: settings.klTarget,
              horizon: settings.klHorizon,
            }),
    }),
});

/**
 * PPO in this process, on models in memory: policy and critic are trained in place.
 *
 * @param options models, scorer, prompts; `config` as `config.parse({ model: '', data: '', rewardModel: '', … })` gives it
 * @throws ConfigError on sizes that do not fit each other; otherwise as `trainOnline`
 */
export function trainPpo(options: Omit<OnlineRunOptions<PpoConfig>, 'step'>) {
  return runOnline({ ...options, step: ppo.build(options.config) });
}
