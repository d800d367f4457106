/**
 * Contrastive Preference Optimization: DPO's loss with a uniform reference, and the likelihood of chosen completions.
 *
 * @paper   Xu et al. 2024, "Contrastive Preference Optimization" (arXiv 2401.08417), eqs. 3 to 5; losses by option: SLiC-HF (Zhao et
 *          al. 2023), IPO (Azar et al. 2023), SimPO (Meng et al. 2024), AlphaPO (Gupta et al. 2025)
 * @code    huggingface/trl v1.16.0 `trl/experimental/cpo/cpo_trainer.py` (defaults, metric names)
 * @differs 1. the mean of the likelihood is over the tokens of the whole batch, however it is cut into micro-batches
 *          2. `logits/*` are means over completion tokens, and `rewards/*` are those at alpha 0
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import type { PairLoss } from '../../parts/loss/preference.ts';
import {
  marginLoss,
  referenceFreeHinge,
  referenceFreeIpo,
  withNll,
} from '../../parts/loss/reference-free.ts';
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
    'peak learning rate; TRL’s default for CPO (tiny models want about 1e-3)',
  ),
  ...section('CPO', {
    loss: field(z.enum(['sigmoid', 'hinge', 'ipo', 'simpo']).default('sigmoid'), {
      aliases: ['lossType'],
    }).describe('loss of a pair; ipo and simpo use log-probabilities per token'),
    beta: field(z.number().positive().default(0.1)).describe('multiplies log-probabilities'),
    labelSmoothing: field(z.number().min(0).max(0.499).default(0)).describe(
      'assumed share of flipped labels, for sigmoid and simpo',
    ),
    cpoAlpha: field(z.number().min(0).default(1)).describe(
      'weight of the mean −log π per token of chosen completions; 0 leaves it out',
    ),
    simpoGamma: field(z.number().min(0).default(0.5)).describe(
      'of simpo: margin that β times the difference should exceed',
    ),
    alpha: field(z.number().default(0)).describe(
      'shape of the reward, (1 − p^−alpha)/alpha (AlphaPO); 0: log p. Needs a loss per token',
    ),
  }),
});

type Settings = z.output<typeof config>;

const perToken = ({ loss }: Settings): boolean => loss === 'ipo' || loss === 'simpo';

function loss(settings: Settings): PairLoss {
  if (settings.alpha !== 0 && !perToken(settings)) {
    throw new ConfigError({
      where: '--alpha',
      expected: '0, or a loss per token: powers of a whole completion’s probability overflow',
      received: `${settings.alpha} with --loss ${settings.loss}`,
      fix: 'Add --loss simpo',
    });
  }
  switch (settings.loss) {
    case 'hinge':
      return referenceFreeHinge(settings);
    case 'ipo':
      return referenceFreeIpo(settings);
    case 'sigmoid':
      return marginLoss({ ...settings, gamma: 0 });
    case 'simpo':
      return marginLoss({ ...settings, gamma: settings.simpoGamma });
  }
}

export const cpo = defineMethod<typeof config, PairExample>({
  id: 'cpo',
  kind: 'train',
  summary: 'contrastive preference optimization: pairs and the chosen side’s likelihood, without a reference',
  data: 'preference',
  config,
  needs: ['policy'],
  metrics: [
    ...trainMetrics,
    ...pairMetrics('β·log π'),
    metric('nll_loss', 'mean −log π per token of chosen completions, nats'),
  ],
  encode: encodePairs,
  build: (settings) =>
    pairwiseStep({
      beta: settings.beta,
      loss: withNll(loss(settings), settings.cpoAlpha),
      reference: false,
      perToken: perToken(settings),
      nll: 'completion',
      figures: ({ nll }) => ({ nll_loss: nll! }),
    }),
});
