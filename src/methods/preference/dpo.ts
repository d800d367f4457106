/**
 * Direct Preference Optimization: fit the policy to preferences without a reward model.
 *
 * @paper   Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"
 *          (arXiv 2305.18290), eq. 7; label smoothing: Mitchell 2023, "A note on DPO with noisy preferences"
 * @code    eric-mitchell/direct-preference-optimization `trainers.py` `preference_loss`; huggingface/trl v1.16.0
 *          `trl/trainer/dpo_trainer.py` (metric names)
 * @differs 1. AdamW with TRL's learning rate instead of the paper's RMSprop at 5e-7
 *          2. reference log-probabilities are computed once, before training, and kept by content hash
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { createEncoder, encodeCache, encodeRows } from '../../data/index.ts';
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
import { cachedSequenceLogProbs } from '../../parts/reference.ts';
import { type PairExample, pairwiseStep } from '../../parts/step/pairwise.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields, encodingOptions } from '../../parts/trainer/encoding-fields.ts';

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
    }).describe('losses of a pair, by TRL’s names; several are added'),
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
  metrics: [
    ...trainMetrics,
    metric('rewards/chosen', 'mean β·log(π/π_ref) of chosen completions, nats'),
    metric('rewards/rejected', 'the same of rejected completions, nats'),
    metric('rewards/accuracies', 'share of pairs whose chosen reward is the larger'),
    metric('rewards/margins', 'mean difference of the two rewards, nats'),
    metric('logps/chosen', 'mean log π of chosen completions, summed over tokens, nats'),
    metric('logps/rejected', 'the same of rejected completions, nats'),
    metric('logits/chosen', 'mean logit over chosen tokens and the vocabulary'),
    metric('logits/rejected', 'the same over rejected tokens'),
    metric('entropy', 'mean entropy of the predictions at completion tokens, nats'),
    metric('mean_token_accuracy', 'share of chosen tokens that are the most likely one'),
  ],
  encode(rows, { config, tokenizer, encodeFolder }) {
    const { maxLength, truncation, refused } = config;
    const options = { maxLength, truncation, ...encodingOptions(config) };
    const cache = encodeCache(encodeFolder, tokenizer, { preference: options });
    return encodeRows(rows, createEncoder(tokenizer, options).preference, { refused, cache });
  },
  async prepare(pairs, context) {
    const sequences = pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]);
    const { scores } = await cachedSequenceLogProbs(sequences, {
      engine: context.engine,
      model: context.model,
      parameters: context.parameters,
      config: context.modelConfig,
      folder: context.cacheFolder,
      batchSize: 2 * context.config.evaluationBatchSize,
      bucket: 16,
      onProgress: (done, total) => context.onProgress('reference', done, total),
    });
    return pairs.map((pair, index) => ({
      ...pair,
      reference: { chosen: scores[2 * index]!, rejected: scores[2 * index + 1]! },
    }));
  },
  build: (settings) =>
    pairwiseStep({ beta: settings.beta, loss: loss(settings), divergence: divergence(settings) }),
});
