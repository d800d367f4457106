/**
 * Simple Preference Optimization: the reward is the mean log-probability per token, which is what generation maximises, and has to
 * differ by a margin. No reference model.
 *
 * @paper   Meng et al. 2024, "SimPO: Simple Preference Optimization with a Reference-Free Reward" (arXiv 2405.14734), eq. 6;
 *          alpha: Gupta et al. 2025, "AlphaPO: Reward Shape Matters for LLM Alignment" (arXiv 2501.03884), eq. 6
 * @code    huggingface/trl v1.16.0 `trl/experimental/cpo/cpo_trainer.py` with `loss_type="simpo"`, `cpo_alpha=0`
 * @differs none
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { marginLoss } from '../../parts/loss/reference-free.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { encodePairs } from '../../parts/preference-data.ts';
import { pairMetrics } from '../../parts/step/pair-metrics.ts';
import { type PairExample, pairwiseStep } from '../../parts/step/pairwise.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields } from '../../parts/trainer/encoding-fields.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; the paper searches 3e-7 to 1e-6 (tiny models want about 1e-3)',
  ),
  ...section('SimPO', {
    beta: field(z.number().positive().default(2)).describe(
      'multiplies log-probabilities per token; the paper uses 2 to 2.5, larger than other methods because they are means',
    ),
    gamma: field(z.number().min(0).default(1), { aliases: ['simpoGamma'] }).describe(
      'margin that β times the difference of the two sides should exceed; the paper: 0.3 to 1.6',
    ),
    labelSmoothing: field(z.number().min(0).max(0.499).default(0)).describe(
      'assumed share of flipped labels',
    ),
    alpha: field(z.number().default(0)).describe(
      'shape of the reward, (1 − p^−alpha)/alpha with p the probability per token (AlphaPO; 0.25 is usual); 0: log p',
    ),
  }),
});

export const simpo = defineMethod<typeof config, PairExample>({
  id: 'simpo',
  kind: 'train',
  summary: 'simple preference optimization: mean log-probabilities with a margin, without a reference',
  data: 'preference',
  config,
  needs: ['policy'],
  metrics: [...trainMetrics, ...pairMetrics('β·log π per token')],
  encode: encodePairs,
  build: (settings) =>
    pairwiseStep({ beta: settings.beta, loss: marginLoss(settings), reference: false, perToken: true }),
});
