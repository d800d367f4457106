/**
 * Odds Ratio Preference Optimization: supervised fine-tuning on chosen completions, with a term that raises their odds over those
 * of rejected ones. No reference model.
 *
 * @paper   Hong et al. 2024, "ORPO: Monolithic Preference Optimization without Reference Model" (arXiv 2403.07691), eqs. 4 to 7
 * @code    huggingface/trl v1.16.0 `trl/experimental/orpo/orpo_trainer.py` (defaults, metric names)
 * @differs 1. the mean of the likelihood is over the tokens of the whole batch, however it is cut into micro-batches
 *          2. `logits/*` are means over completion tokens; TRL counts prompts and padding too
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { oddsFigures, orpoLoss } from '../../parts/loss/reference-free.ts';
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
    'peak learning rate; TRL’s default for ORPO (the paper: 8e-6; tiny models want about 1e-3)',
  ),
  ...section('ORPO', {
    beta: field(z.number().positive().default(0.1)).describe(
      'weight of the odds-ratio term, λ in the paper: more separates the two sides, and learns the chosen one less',
    ),
    learn: field(z.enum(['completion', 'all']).default('all')).describe(
      'what the likelihood term learns of the chosen side: all, prompt included, as the authors’ code and TRL; or the completion, as the paper writes it',
    ),
  }),
});

export const orpo = defineMethod<typeof config, PairExample>({
  id: 'orpo',
  kind: 'train',
  summary: 'odds ratio preference optimization: SFT and preferences in one loss, without a reference',
  data: 'preference',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    ...pairMetrics('β·log π per token'),
    metric('nll_loss', 'mean −log π per token of the chosen side, nats'),
    metric('log_odds_chosen', 'mean log odds ratio of chosen over rejected completions'),
    metric('log_odds_ratio', 'mean log σ of it'),
  ],
  encode: encodePairs,
  build: ({ beta, learn }) =>
    pairwiseStep({
      ...{ beta, loss: orpoLoss({ beta }), figures: oddsFigures },
      ...{ reference: false, perToken: true, nll: learn },
    }),
});
