/**
 * Binary Classifier Optimization: a classifier of desirable against undesirable completions whose logit is the implicit reward,
 * less a running mean of rewards.
 *
 * @paper   Jung et al. 2024, "Binary Classifier Optimization for Large Language Model Alignment" (arXiv 2404.04656), eq. 10
 * @code    huggingface/trl v0.24.0 `trl/trainer/bco_trainer.py` (the last version with one: running mean, metric names)
 * @differs 1. the running mean takes in the whole batch at once, however it is cut into micro-batches; TRL takes in one after the
 *             other
 *          2. no weights by the density of prompts (section 4.3 of the paper): they need a model of prompt embeddings
 */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { metric } from '../../core/metrics.ts';
import { mean } from '../../core/statistics.ts';
import { sequenceLogProbKind } from '../../parts/forward.ts';
import { bcoLoss } from '../../parts/loss/unpaired.ts';
import { defineMethod, trainMetrics } from '../../parts/method.ts';
import type { Coupling } from '../../parts/step/coupling.ts';
import { type UnpairedExample, unpairedStep } from '../../parts/step/unpaired.ts';
import { trainerFields } from '../../parts/trainer/config.ts';
import { encodingFields } from '../../parts/trainer/encoding-fields.ts';
import {
  encodeUnpaired,
  type MarkedCompletion,
  unpairedMetrics,
  withReference,
} from '../../parts/unpaired-data.ts';

export const config = z.strictObject({
  ...trainerFields,
  ...encodingFields,
  learningRate: field(z.number().positive().default(1e-6), { group: 'Optimization' }).describe(
    'peak learning rate (tiny models want about 1e-3)',
  ),
  ...section('BCO', {
    beta: field(z.number().positive().default(0.1)).describe(
      'multiplies the log-ratio to the reference: larger stays closer to it',
    ),
  }),
});

/** δ/β, the mean log π/π_ref of every completion trained on so far, this batch included, as each was when its batch came. */
export function runningMeanReward(): Coupling<UnpairedExample> {
  let [count, total] = [0, 0];
  return {
    survey: (model) => sequenceLogProbKind(model, ({ example }) => example),
    complete(batch, logProbs, training) {
      const ratios = batch.map(({ reference = 0 }, i) => logProbs[i]![0]! - reference);
      if (training) {
        count += ratios.length;
        total += mean(ratios) * ratios.length;
      }
      const anchor = count === 0 ? 0 : total / count;
      return batch.map((one) => ({ ...one, anchor }));
    },
    running: {
      state: () => ({ 'bco.count': count, 'bco.total': total }),
      load(state) {
        [count, total] = [state['bco.count'] ?? 0, state['bco.total'] ?? 0];
      },
    },
  };
}

export const bco = defineMethod<typeof config, UnpairedExample>({
  id: 'bco',
  kind: 'train',
  summary: 'binary classifier optimization on single completions marked desirable or undesirable',
  data: 'unpaired preference or preference',
  config,
  needs: ['policy', 'reference'],
  metrics: [
    ...trainMetrics,
    ...unpairedMetrics,
    metric('delta', 'δ, the running mean of rewards β·log(π/π_ref), nats'),
  ],
  encode: encodeUnpaired,
  prepare: (completions, context) =>
    withReference(completions as readonly MarkedCompletion[], undefined, context),
  build: ({ beta }) =>
    unpairedStep({
      beta,
      loss: bcoLoss({ beta }),
      anchor: { name: 'delta', scale: beta },
      coupling: runningMeanReward(),
    }),
});
