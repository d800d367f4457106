/**
 * Direct Preference Optimization: fit the policy to preferences without a reward model.
 *
 * @paper   Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"
 *          (arXiv 2305.18290), eq. 7; label smoothing: Mitchell 2023, "A note on DPO with noisy preferences"
 *          the other losses, weights and divergences name their papers where they are defined
 * @code    eric-mitchell/direct-preference-optimization `trainers.py` `preference_loss`; huggingface/trl v1.16.0
 *          `trl/trainer/dpo_trainer.py` (metric names)
 * @differs 1. AdamW with TRL's learning rate instead of the paper's RMSprop at 5e-7
 *          2. reference log-probabilities are computed once, before training, and kept by content hash
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import {
  alphaDivergence,
  type Divergence,
  divergences,
  type PairLoss,
  pairLosses,
  pairLossNames,
  weightedLoss,
} from '../../parts/loss/preference.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import { encodePairs, pairsWithReference } from '../../parts/preference-data.ts';
import { pairMetrics } from '../../parts/step/pair-metrics.ts';
import { type PairExample, pairwiseStep, weighTails } from '../../parts/step/pairwise.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields } from '../../parts/trainer/encoding-fields.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for DPO (tiny models want about 1e-3)',
  ),
  ...section('DPO', {
    beta: field(z.number().positive().default(0.1)).describe(
      'temperature: multiplies the log-ratio to the reference, so larger stays closer to it; the paper’s default',
    ),
    labelSmoothing: field(z.number().min(0).max(0.499).default(0)).describe(
      'assumed share of flipped labels, for sigmoid (conservative DPO), robust and exo_pair; 0 is the paper’s loss',
    ),
    loss: field(z.array(z.enum(pairLossNames)).min(1).default(['sigmoid']), {
      aliases: ['lossType'],
      placeholder: 'names',
    }).describe(
      'losses of a pair, by TRL’s names; several are added, such as sigmoid,bco_pair,sft with weights 0.8,0.2,1 (MPO)',
    ),
    lossWeights: field(z.array(z.number()).optional(), { placeholder: 'numbers' }).describe(
      'weight of each loss; default 1',
    ),
    fDivergence: field(
      z.enum(['reverse_kl', 'forward_kl', 'js_divergence', 'alpha_divergence']).default('reverse_kl'),
      {
        aliases: ['fDivergenceType'],
      },
    ).describe('divergence from the reference that the pull is of; the paper’s is the reverse KL'),
    alphaCoefficient: field(z.number().default(0.5), { aliases: ['fAlphaDivergenceCoef'] }).describe(
      'of alpha_divergence: 0 is the forward KL, 1 the reverse KL',
    ),
    ldAlpha: field(z.number().min(0).max(1).default(1)).describe(
      'weight of the tokens of a completion beyond the length of the other one (LD-DPO): below 1 length teaches less',
    ),
    useWeighting: field(z.boolean().default(false)).describe(
      'weigh each pair by how likely the policy finds it (WPO)',
    ),
    discopopTau: field(z.number().positive().default(0.05)).describe('of discopop: sharpness of its change'),
  }),
});

type Settings = z.output<typeof config>;

/** The loss of a pair: with the defaults −log σ(βh), h the margin of its log-ratios. */
export function loss({
  loss: names,
  lossWeights,
  beta,
  labelSmoothing,
  discopopTau: tau,
}: Settings): PairLoss {
  const weights = lossWeights ?? names.map(() => 1);
  if (weights.length !== names.length) {
    throw new ConfigError({
      where: '--loss-weights',
      expected: `${names.length} numbers, one per loss`,
      received: String(weights.length),
    });
  }
  if (names.includes('exo_pair') && labelSmoothing === 0) {
    throw new ConfigError({
      where: '--label-smoothing',
      expected: 'a number above 0: exo_pair takes its logarithm',
      received: '0',
      fix: 'Add --label-smoothing 0.001',
    });
  }
  return weightedLoss(
    names.map((name) => pairLosses[name]({ beta, labelSmoothing, tau })),
    weights,
  );
}

function divergence({ fDivergence, alphaCoefficient }: Settings): Divergence {
  switch (fDivergence) {
    case 'reverse_kl':
      return divergences.reverseKl;
    case 'forward_kl':
      return divergences.forwardKl;
    case 'js_divergence':
      return divergences.jensenShannon;
    case 'alpha_divergence':
      return alphaDivergence(alphaCoefficient);
  }
}

export const dpo = defineMethod<typeof config, PairExample>({
  id: 'dpo',
  kind: 'train',
  summary: 'direct preference optimization on pairs of a chosen and a rejected completion',
  data: 'preference',
  config,
  needs: ['policy', 'reference'],
  metrics: [...trainMetrics, ...pairMetrics('β·log(π/π_ref)')],
  encode: encodePairs,
  prepare: (pairs, context) =>
    pairsWithReference(pairs, (pair) => weighTails(pair, context.config.ldAlpha), context),
  build: (settings) =>
    pairwiseStep({
      beta: settings.beta,
      loss: loss(settings),
      divergence: divergence(settings),
      tailWeight: settings.ldAlpha,
      onPolicyWeights: settings.useWeighting,
      ranks: settings.loss.some((name) => name.startsWith('aot')),
      ...(settings.loss.includes('sft') && { nll: 'completion' }),
    }),
});
