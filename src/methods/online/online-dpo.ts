/**
 * Online DPO: the policy's own completions, the best and the worst of each prompt by a scorer, are the pairs it learns from.
 *
 * @paper   Dong et al. 2024, "RLHF Workflow: From Reward Modeling to Online RLHF" (arXiv 2405.07863), section 3; one pair per step
 *          as in Guo et al. 2024, "Direct Language Model Alignment from Online AI Feedback" (arXiv 2402.04792)
 * @code    RLHFlow/Online-RLHF (choice of pairs); huggingface/trl v1.16.0 `trl/experimental/online_dpo` (metric names)
 * @differs 1. an iteration is one batch, not a round over a prompt set: optimizer and learning rate run on
 *          2. the reference is the policy before training; the workflow's scripts take that of the round before
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { createRng } from '../../core/rng.ts';
import { pairLosses } from '../../parts/loss/preference.ts';
import { defineOnlineMethod, onlineMetrics } from '../../parts/online-method.ts';
import { penalizeMissingEos } from '../../parts/reward/kl-reward.ts';
import { onlinePairsStep, pairChoices } from '../../parts/step/online-pairs.ts';
import { groupFields, onlineFields } from '../../parts/trainer/online-config.ts';

export const config = z.strictObject({
  ...onlineFields,
  learningRate: field(z.number().positive().default(5e-7), { group: 'Optimization' }).describe(
    'peak learning rate; the paper’s (tiny models want about 1e-4)',
  ),
  ...groupFields(4),
  miniBatchSize: field(z.int().positive().optional(), { group: 'Optimization' }).describe(
    'pairs per optimizer step; default all of an iteration',
  ),
  ...section('Online DPO', {
    beta: field(z.number().positive().default(0.1)).describe(
      'temperature of the DPO loss: larger stays closer to the reference; the paper’s default',
    ),
    loss: field(z.enum(['sigmoid', 'ipo', 'hinge', 'robust']).default('sigmoid'), {
      aliases: ['lossType'],
    }).describe('loss of a pair, by TRL’s names'),
    labelSmoothing: field(z.number().min(0).max(0.499).default(0)).describe(
      'assumed share of pairs that the scorer ordered wrongly',
    ),
    choose: field(z.enum(pairChoices).default('max-min')).describe(
      'which two of a prompt’s completions: best and worst; best and a random worse one; the two best; the first two',
    ),
    missingEosPenalty: field(z.number().min(0).default(0)).describe(
      'taken off the score of a completion that was cut at maxNewTokens',
    ),
  }),
});

export const onlineDpo = defineOnlineMethod<typeof config>({
  id: 'online-dpo',
  kind: 'online',
  summary: 'DPO on the policy’s own completions: the best and the worst of each prompt by a scorer',
  data: 'prompt-only',
  config,
  needs: ['policy', 'reference', 'reward'],
  metrics: [
    ...onlineMetrics,
    metric('objective/scores_margin', 'mean difference of scores in the pairs'),
    metric('pairs/skipped', 'share of prompts whose completions all score alike: no pair', {
      healthy: 'below 0.5',
    }),
    metric('pairs/chosen_length', 'mean length of chosen completions', { unit: 'tokens' }),
    metric('pairs/rejected_length', 'mean length of rejected completions', { unit: 'tokens' }),
    metric('val/contain_eos_token', 'share of completions that ended with a stop token'),
    metric('rewards/chosen', 'mean β·log(π/π_ref) of chosen completions', { unit: 'nats' }),
    metric('rewards/rejected', 'the same of rejected completions', { unit: 'nats' }),
    metric('rewards/accuracies', 'share of pairs whose chosen reward is the larger'),
    metric('rewards/margins', 'mean difference of the two rewards', { unit: 'nats' }),
    metric('logps/chosen', 'mean log π of chosen completions', { unit: 'nats' }),
    metric('logps/rejected', 'mean log π of rejected completions', { unit: 'nats' }),
    metric('beta', 'temperature of the loss'),
  ],
  build: (settings) => {
    const { beta, labelSmoothing, missingEosPenalty } = settings;
    return onlinePairsStep({
      beta,
      choice: settings.choose,
      temperature: settings.temperature,
      rng: createRng(settings.seed),
      loss: pairLosses[settings.loss]({ beta, labelSmoothing }),
      shape: (scores, traces) =>
        penalizeMissingEos(
          scores,
          traces.map(({ finish }) => finish === 'stop'),
          missingEosPenalty,
        ),
    });
  },
});
