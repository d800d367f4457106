/**
 * Kahneman–Tversky Optimization: learn from single completions marked desirable or not, with diminishing returns on both sides
 * of a reference point.
 *
 * @paper   Ethayarajh et al. 2024, "KTO: Model Alignment as Prospect Theoretic Optimization" (arXiv 2402.01306), eqs. 7 and 8;
 *          apo_zero_unpaired: D'Oosterlinck et al. 2024, "Anchored Preference Optimization" (arXiv 2408.06266), eq. 7
 * @code    huggingface/trl v1.16.0 `trl/trainer/kto_trainer.py` (defaults, metric names)
 * @differs 1. the reference point is the mean over the whole batch, however it is cut into micro-batches
 *          2. mismatched pairs are drawn once from all rows, with another prompt for certain; TRL shifts completions by one within
 *             blocks of a micro-batch, where neighbours may share a prompt
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import { metric } from '../../core/metrics.ts';
import { createRng } from '../../core/rng.ts';
import { mean } from '../../core/statistics.ts';
import { sequenceLogProbKind } from '../../parts/forward.ts';
import { apoZeroUnpairedLoss, ktoLoss, weightedBySign } from '../../parts/loss/unpaired.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import type { Coupling } from '../../parts/step/coupling.ts';
import { type UnpairedExample, unpairedStep } from '../../parts/step/unpaired.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields } from '../../parts/trainer/encoding-fields.ts';
import {
  encodeUnpaired,
  type MarkedCompletion,
  mismatch,
  unpairedMetrics,
  withReference,
} from '../../parts/unpaired-data.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate; TRL’s default for KTO (tiny models want about 1e-3)',
  ),
  ...section('KTO', {
    loss: field(z.enum(['kto', 'apo_zero_unpaired']).default('kto'), { aliases: ['lossType'] }).describe(
      'kto compares with the KL to the reference, at the price of a second forward pass; apo_zero_unpaired with 0',
    ),
    beta: field(z.number().positive().default(0.1)).describe(
      'multiplies the log-ratio to the reference: larger stays closer to it',
    ),
    desirableWeight: field(z.number().min(0).default(1)).describe(
      'multiplies the loss of desirable completions; with n of them and m others, weights in n·desirable : m·undesirable from 1:1 to 4:3 are advised',
    ),
    undesirableWeight: field(z.number().min(0).default(1)).describe('the same of undesirable completions'),
  }),
});

/** z = max(0, mean over the batch of log π/π_ref of mismatched pairs), nats: an estimate of the KL to the reference, not differentiated. */
export const klFromMismatched: Coupling<UnpairedExample> = {
  survey: (model) => sequenceLogProbKind(model, (one) => mismatchedOf(one).example),
  complete(batch, logProbs) {
    const anchor = Math.max(0, mean(batch.map((one, i) => logProbs[i]![0]! - mismatchedOf(one).reference)));
    return batch.map((one) => ({ ...one, anchor }));
  },
};

export const kto = defineMethod<typeof config, UnpairedExample>({
  id: 'kto',
  kind: 'train',
  summary: 'Kahneman–Tversky optimization on single completions marked desirable or undesirable',
  data: 'unpaired preference or preference',
  config,
  needs: ['policy', 'reference'],
  metrics: [
    ...trainMetrics,
    ...unpairedMetrics,
    metric('kl', 'what log-ratios are compared with: mean log π/π_ref of mismatched pairs, at least 0, nats'),
  ],
  encode: encodeUnpaired,
  prepare(completions, context) {
    const { config: settings } = context;
    const marked = completions as readonly MarkedCompletion[];
    const pairs =
      settings.loss === 'kto' ? mismatch(marked, createRng(settings.seed), settings.maxLength) : undefined;
    return withReference(marked, pairs, context);
  },
  build: ({ loss, beta, desirableWeight: desirable, undesirableWeight: undesirable }) =>
    unpairedStep({
      beta,
      loss: weightedBySign((loss === 'kto' ? ktoLoss : apoZeroUnpairedLoss)({ beta }), {
        desirable,
        undesirable,
      }),
      anchor: { name: 'kl', scale: 1 },
      ...(loss === 'kto' && { coupling: klFromMismatched }),
    }),
});

function mismatchedOf({ mismatched }: UnpairedExample): NonNullable<UnpairedExample['mismatched']> {
  if (mismatched !== undefined) return mismatched;
  throw new ConfigError({
    where: 'kto',
    expected: 'completions with a mismatched pair',
    received: 'one without',
    fix: 'Prepare them with `mismatch` and `withReference`',
  });
}
