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
import { metric } from '../../core/metrics.ts';
import { createEncoder, encodeCache, encodeRows } from '../../data/index.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { dpoSigmoidLoss } from '../../parts/loss/dpo.ts';
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
      'assumed share of flipped labels (conservative DPO); 0 is the paper’s loss',
    ),
  }),
});

/** The loss of a pair from the margin h of its log-ratios: −(1−ε) log σ(βh) − ε log σ(−βh). */
export const loss =
  (beta: number, labelSmoothing: number) =>
  (margin: Tensor): Tensor =>
    dpoSigmoidLoss(margin, { beta, labelSmoothing });

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
  build: ({ beta, labelSmoothing }) => pairwiseStep({ beta, loss: loss(beta, labelSmoothing) }),
});
