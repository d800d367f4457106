/**
 * Group Relative Policy Optimization: sample several completions per prompt, and move a clipped step towards those that scored
 * above their group. The group takes the place of a critic.
 *
 * @paper   Shao et al. 2024, "DeepSeekMath" (arXiv 2402.03300), section 4.1; variants by options: Dr. GRPO (Liu et al. 2025,
 *          arXiv 2503.20783), DAPO (Yu et al. 2025, arXiv 2503.14476), GSPO (Zheng et al. 2025, arXiv 2507.18071)
 * @code    huggingface/trl v1.16.0 `trl/trainer/grpo_trainer.py` (defaults, metric names)
 * @differs 1. DAPO’s dynamic sampling draws as many prompts as groups are missing, where verl draws whole batches and drops the
 *             surplus; at the last round it goes on with the groups that were found, where verl stops
 *          2. log-probabilities at rollout are the sampler's own: it runs the same kernels on the same weights
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { mul } from '../../graph/ops/elementwise.ts';
import { groupRelative, scoresDiffer } from '../../parts/advantage/group-relative.ts';
import { fixedKl } from '../../parts/controller/kl.ts';
import { targetControls } from '../../parts/controller/targets.ts';
import { policyClipLoss } from '../../parts/loss/policy-clip.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { klReward } from '../../parts/reward/kl-reward.ts';
import { overlongPenalty } from '../../parts/reward/overlong.ts';
import { policyGradientStep } from '../../parts/step/policy-gradient.ts';
import { groupFields, onlineFields, targetFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for GRPO (tiny models want about 1e-4)',
  ),
  ...groupFields(8),
  ...section('GRPO', {
    clipRange: field(z.number().positive().default(0.2), { aliases: ['epsilon'] }).describe(
      'the ratio to the policy at rollout counts within 1 ± clipRange (GSPO: about 4e-4)',
    ),
    clipRangeHigh: field(z.number().positive().optional(), { aliases: ['epsilonHigh'] }).describe(
      'upper side of the clip; default clipRange (DAPO: 0.28)',
    ),
    klCoefficient: field(z.number().min(0).default(0), { aliases: ['beta'] }).describe(
      'multiplies the KL to the reference per token (k3), which is added to the loss; 0.04 in the paper, 0 in TRL',
    ),
    useBiasCorrectionKl: field(z.boolean().default(false)).describe(
      'multiply that KL by the ratio to the policy at rollout, whose gradient then counts too: with token ratios the slope is that of the KL itself, free of bias; on in TRL, not in the paper',
    ),
    scaleRewards: field(z.enum(['group', 'batch', 'none']).default('group')).describe(
      'what advantages are divided by: the deviation of the group, of the batch, or nothing (Dr. GRPO)',
    ),
    aggregation: field(
      z.enum(['sequence-mean-token-mean', 'token-mean', 'constant']).default('sequence-mean-token-mean'),
    ).describe(
      'mean over sequences of their token means (the paper, GSPO), over all tokens (DAPO), or Σ over tokens ÷ maxNewTokens (Dr. GRPO)',
    ),
    importance: field(z.enum(['token', 'sequence']).default('token'), {
      aliases: ['importanceSamplingLevel'],
    }).describe('whose ratio is clipped: each token’s, or the sequence’s geometric mean (GSPO)'),
    overlongMargin: field(z.int().min(0).default(0)).describe(
      'tokens before maxNewTokens from where the score falls by up to 1 (DAPO); 0: it does not',
    ),
    maskTruncated: field(z.boolean().default(false), { aliases: ['maskTruncatedCompletions'] }).describe(
      'learn nothing from completions without a stop token',
    ),
    dropUniformGroups: field(z.boolean().default(false)).describe(
      'leave groups out whose scores are all equal, so that means are over what teaches something',
    ),
    entropyCoefficient: field(z.number().min(0).default(0)).describe(
      'multiplies the mean token entropy, which is added to the objective; where entropyTarget is set, at the start',
    ),
    resamplingRounds: field(z.int().min(1).default(1), { aliases: ['maxNumGenBatches'] }).describe(
      'rounds of sampling per iteration: groups whose scores are all equal are replaced by completions of further prompts (DAPO’s dynamic sampling: 10); 1: they are not',
    ),
  }),
  ...targetFields,
});

export const grpo = defineOnlineMethod<typeof config>({
  id: 'grpo',
  kind: 'online',
  summary:
    'group relative policy optimization: completions of a prompt compete; no critic (also Dr. GRPO, DAPO, GSPO)',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('reward_std', 'mean deviation of the scores within a group'),
    metric('frac_reward_zero_std', 'share of groups whose scores are all equal: they teach nothing', {
      healthy: 'below 0.5',
    }),
  ],
  build(settings) {
    const ratio = settings.importance === 'sequence' ? 'sequence-mean' : 'token';
    const penalty = overlongPenalty(settings.maxNewTokens, settings.overlongMargin);
    return policyGradientStep({
      temperature: settings.temperature,
      maxNewTokens: settings.maxNewTokens,
      aggregation: settings.aggregation === 'constant' ? 'sequence-mean-token-sum' : settings.aggregation,
      entropyCoefficient: settings.entropyCoefficient,
      klLossCoefficient: settings.klCoefficient,
      klLossRatio: settings.useBiasCorrectionKl ? ratio : undefined,
      resampling:
        settings.resamplingRounds > 1
          ? { rounds: settings.resamplingRounds, teaches: scoresDiffer }
          : undefined,
      shape(scores, traces) {
        const penalties = penalty(traces.map(({ ids }) => ids.length));
        return scores.map((score, index) => score + penalties[index]!);
      },
      // The score at the last token; the KL is in the loss.
      reward: (input) => klReward(input, { klCoefficient: 0 }),
      advantage: groupRelative({ scale: settings.scaleRewards }),
      select(traces, { data, shape: [, C = 0] }) {
        const teaches = (index: number): boolean =>
          !settings.dropUniformGroups || data.subarray(index * C, (index + 1) * C).some((a) => a !== 0);
        return traces.map(
          ({ finish }, index) => (finish === 'stop' || !settings.maskTruncated) && teaches(index),
        );
      },
      policyLoss(input) {
        const { clipRange, clipRangeHigh = clipRange } = settings;
        const { losses, clipped } = policyClipLoss(input, { clipRange, clipRangeHigh, ratio });
        return {
          losses: settings.aggregation === 'constant' ? mul(losses, 1 / settings.maxNewTokens) : losses,
          clipped,
        };
      },
      targets: () => targetControls(settings),
      controller: () => fixedKl(settings.klCoefficient),
    });
  },
});
